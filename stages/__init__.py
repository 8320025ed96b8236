"""The work: each stage, and what stages share. Importing this package imports nothing heavy."""

import os

# Read when ONNX Runtime is imported, by whichever module is the first to do it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
