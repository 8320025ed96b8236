"""The kernels that TensorRT-RTX compiles when an engine runs, kept for the next process.

A file holds the serialised cache of one engine on one kind of GPU and one version, behind a digest
over all three and the bytes themselves: what is of another engine, GPU or version, cut off or
changed is left aside, and never reaches native code.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.atomic import write_bytes

SUFFIX = ".rtx-kernels"
_DIGEST_BYTES = 32


class CacheFile(NamedTuple):
    """Where the kernels of one engine lie, and what they are bound to."""

    path: Path
    binding: bytes

    def read(self) -> tuple[bytes, str]:
        """Return the serialised cache, empty where there is none, and why one was left aside."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return b"", ""
        except OSError as error:
            return b"", f"the runtime cache was not read ({error})"
        digest, kernels = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if digest != self._digest(kernels):
            wrong = "is damaged, or of another engine, GPU or version"
            return b"", f"the runtime cache {wrong}, and was left aside ({self.path})"
        return kernels, ""

    def write(self, kernels: bytes) -> str:
        """Keep a serialised cache, whole or not at all; return why it could not be kept."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(self.path, self._digest(kernels) + kernels)
        except OSError as error:
            return f"the runtime cache was not kept ({error})"
        return ""

    def _digest(self, kernels: bytes) -> bytes:
        return hashlib.sha256(self.binding + kernels).digest()


def cache_file(folder: Path, *, sha256: str, version: str, gpu: Sequence[str]) -> CacheFile:
    """Return the file of an engine's kernels in a folder.

    Args:
        folder: Where it lies.
        sha256: Of the engine's file.
        version: Of TensorRT-RTX.
        gpu: The GPU's name and compute capability.
    """
    binding = json.dumps([sha256, version, *gpu]).encode()
    return CacheFile(folder / f"{hashlib.sha256(binding).hexdigest()[:16]}{SUFFIX}", binding)
