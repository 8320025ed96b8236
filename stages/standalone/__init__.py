"""export, build and validate on files from anywhere, without a pipeline around them."""

from stages.standalone.build_engine import build
from stages.standalone.export_file import export
from stages.standalone.validate_engine import validate

__all__ = ["build", "export", "validate"]
