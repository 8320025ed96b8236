"""The precision of an engine, made in the ONNX graph: fp32, fp16, bf16, int8 or fp8."""
