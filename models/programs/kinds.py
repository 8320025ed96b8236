"""The kinds of programs, and how one is kept. Light."""

from typing import Literal

ProgramKind = Literal["onnx", "torchscript", "pt2"]
CONTENT = "content"
"""Under this name the file stands among the tensors of a weights file."""
