"""Engines with their manifests: built, and loaded after checking that the two belong together.

Light: a backend's module is imported only when an engine of it is opened.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec

from pipeline import machine, stored_files
from pipeline.atomic import naming, write_bytes
from pipeline.cache.keys import file_sha256
from pipeline.errors import UsageError
from pipeline.gates.build_records import EngineManifest
from pipeline.stage import StageError
from stages.data.tree import IMAGE_SUFFIXES, is_hidden
from stages.engines import compatibility, selection
from stages.engines.base import BACKENDS, MANIFEST_FILE, BuildRequest, Session


def build_engine(backend: str, request: BuildRequest) -> EngineManifest:
    """Build an engine and leave its manifest beside it, without which some backends load none.

    Errors are those of `Backend.build`.
    """
    facts = selection.backend(backend).build(request) or {}
    manifest = EngineManifest(
        backend=backend,
        backend_version=machine.version(BACKENDS[backend].distribution),
        device=request.device,
        precision=request.precision,
        engine=request.engine.name,
        sha256=file_sha256(request.engine),
        onnx_sha256=file_sha256(request.onnx),
        **facts,
    )
    write_manifest(manifest, request.engine.with_name(MANIFEST_FILE))
    return manifest


def write_manifest(manifest: EngineManifest, path: Path) -> None:
    """Write a manifest as text; OSError where it cannot be."""
    write_bytes(path, manifest_text(manifest))


def manifest_text(manifest: EngineManifest) -> bytes:
    """Return a manifest as it stands in its file."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


def read_manifest(manifest_path: Path, engine: Path) -> EngineManifest:
    """Return the manifest of an engine; StageError where it does not describe these bytes."""
    try:
        manifest = stored_files.decode(stored_files.read_bytes(manifest_path), EngineManifest)
        digest = file_sha256(engine)
    except (OSError, msgspec.DecodeError) as error:
        raise StageError("the engine", f"cannot be read ({error})", "build it again") from error
    if digest != manifest.sha256:
        raise StageError(
            "the engine",
            f"is not the one that its manifest describes ({engine}: {digest[:8]}, "
            f"not {manifest.sha256[:8]})",
            "build it again",
        )
    if manifest.backend not in BACKENDS:
        raise StageError(
            "the engine", f"is of no known backend ({manifest.backend})", "build it again"
        )
    return manifest


def place_engine(built: Path, engine: Path, manifest: EngineManifest, manifest_path: Path) -> None:
    """Write the manifest of an engine, then move the engine to its place.

    A folder with a manifest alone, or with one of another engine, is no engine, and is still known
    as madpipe's by the next build, whatever comes between the two.

    Raises:
        OSError: One of them cannot be written, and is named.
    """
    write_manifest(manifest, manifest_path)
    with naming(engine):
        shutil.move(built, engine)


def read_folder(folder: Path, place: str) -> tuple[EngineManifest, Path]:
    """Return the manifest and the engine's file of a folder that `madpipe build` wrote.

    Raises:
        StageError: It holds none, or they do not belong together.
    """
    path = folder / MANIFEST_FILE
    if not path.is_file():
        raise StageError(
            place, f"has no manifest.json ({folder})", "name a folder that madpipe build wrote"
        )
    try:
        name = stored_files.decode(stored_files.read_bytes(path), EngineManifest).engine
    except msgspec.DecodeError as error:
        raise StageError(place, f"has no sound manifest ({error})", "build it again") from error
    if Path(name).name != name:
        raise StageError(place, f"its manifest leads out of the folder ({name})", "build it again")
    if not (folder / name).is_file():
        raise StageError(place, f"its {name} is missing ({folder})", "copy the whole folder again")
    return read_manifest(path, folder / name), folder / name


def check_folder(folder: Path, names: Sequence[str]) -> None:
    """Make sure that a folder may get an engine: it is new, or these files in it are ours.

    Raises:
        UsageError: It is a file, a folder of images, or holds some of the files without a manifest
            of madpipe's.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError("--out", f"is a file of that name ({folder})", "give --out DIR")
    if _holds_images(folder):
        raise UsageError("--out", f"is a folder of images ({folder})", "give --out another DIR")
    try:
        stored_files.decode(stored_files.read_bytes(folder / MANIFEST_FILE), EngineManifest)
    except (OSError, msgspec.DecodeError):
        for name in names:
            if (folder / name).exists():
                raise UsageError(
                    "--out",
                    f"holds a {name} that madpipe did not write ({folder / name})",
                    "give --out DIR with another folder",
                ) from None


def _holds_images(folder: Path) -> bool:
    """Return whether a folder is one of images: it has some, or nothing but folders with some."""
    if not folder.is_dir():
        return False
    entries = [entry for entry in folder.iterdir() if not is_hidden(entry.name)]
    if any(_is_image(entry) for entry in entries):
        return True
    are_folders = all(entry.is_dir() for entry in entries)
    return (
        bool(entries)
        and are_folders
        and all(any(_is_image(path) for path in entry.iterdir()) for entry in entries)
    )


def _is_image(path: Path) -> bool:
    return path.name.lower().endswith(IMAGE_SUFFIXES)


def open_engine(
    manifest: EngineManifest, engine: Path, *, threads: int, cache: Path | None = None
) -> Session:
    """Load an engine whose manifest was read with one of the functions above.

    `cache` is as in `Backend.open`.

    Raises:
        StageError: It cannot be loaded, or was built by another version or for another GPU.
        UnavailableError: Its backend or device is not available here.
    """
    compatibility.check(manifest)
    backend = selection.backend(manifest.backend)
    return backend.open(engine, device=manifest.device, threads=threads, cache=cache)
