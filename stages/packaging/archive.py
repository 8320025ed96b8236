"""Writing a package as a folder, .zip or .tar.gz; the same files give the same bytes."""

import gzip
import io
import os
import shutil
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from pipeline.atomic import naming, replace_folder, sync, write_bytes
from pipeline.errors import UsageError

Files = Mapping[str, bytes]
"""Name within the package -> its content."""

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first time that a zip file can hold
_MODE = 0o644
_OF_PACKAGES = ("manifest.json", "labels.txt")
"""Files of every package; a folder without them is somebody's own, and not replaced."""
_OTHER_ARCHIVES = {".rar", ".7z", ".tar", ".gz", ".xz", ".bz2", ".zst"}


def write(files: Files, out: Path, *, overwrite: bool) -> None:
    """Write a package; the suffix of `out` says in which form.

    Raises:
        OSError: It cannot be written.
        UsageError: `out` is there and is not to be overwritten, or is no package, or a name leads
            out of it.
    """
    for name in files:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise UsageError("--out", f"a file's name leads out of it ({name})", "rename the file")
    is_folder = not out.name.lower().endswith((".zip", ".tar.gz", ".tgz"))
    if out.suffix.lower() in _OTHER_ARCHIVES and is_folder:
        wrong = f"is no form of a package ({out.suffix})"
        raise UsageError("--out", wrong, "give a name in .zip or .tar.gz, or a folder")
    is_occupied = any(out.iterdir()) if out.is_dir() else out.exists()
    if is_occupied and not overwrite:
        raise UsageError("--out", f"is already there ({out})", "give --overwrite or another --out")
    if out.exists() and out.is_dir() != is_folder:
        kind = "a folder" if out.is_dir() else "a file"
        raise UsageError("--out", f"is {kind} of that name ({out})", "give another --out")
    if is_occupied and is_folder and not all((out / name).is_file() for name in _OF_PACKAGES):
        wrong = f"is a folder with other files than a package's ({out})"
        raise UsageError("--out", wrong, "give another --out, or remove it yourself")
    out.parent.mkdir(parents=True, exist_ok=True)
    if is_folder:
        _write_folder(files, out)
    else:
        ordered = dict(sorted(files.items()))
        write_bytes(out, _zip(ordered) if out.suffix.lower() == ".zip" else _tar(ordered))


def _write_folder(files: Files, out: Path) -> None:
    """Write a folder beside its place and move it there, so that it is whole or not there."""
    part = out.with_name(f"{out.name}.{os.getpid()}.part")
    aside = out.with_name(f"{out.name}.{os.getpid()}.replaced.part")
    try:
        for name, content in files.items():
            path = part / name
            with naming(out / name):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
                sync(path)
        replace_folder(part, out, aside=aside)
    finally:
        for folder in (part, aside):
            shutil.rmtree(folder, ignore_errors=True)


def _zip(files: Files) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name, _EPOCH)
            info.external_attr = _MODE << 16
            info.create_system = 3
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _tar(files: Files) -> bytes:
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0, filename="") as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), _MODE
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()
