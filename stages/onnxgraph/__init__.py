"""ONNX files: written and read, and turned into graphs of another precision."""
