"""The export stage: the student as an ONNX file."""
