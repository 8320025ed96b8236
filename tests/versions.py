"""What older versions of libraries, which pyproject.toml allows, do otherwise, for tests."""

import onnxruntime
import pytest
from packaging.version import Version

needs_onnxruntime_for_cuda_13 = pytest.mark.skipif(
    Version(onnxruntime.__version__) < Version("1.27"),
    reason="ONNX Runtime is of before 1.27: for CUDA 12, and with a quantizer that imports torch",
)
