"""The build stage: the fastest engine that agrees with its ONNX file."""
