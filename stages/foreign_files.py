"""What a file is that should have been weights or an ONNX graph, by its first bytes.

Light, since ONNX files and weights are read in different places.
"""

import io
import zipfile
from typing import NamedTuple

_HEAD_BYTES = 512
_NAMES = 3
_PROGRAM = ("models/model.json", "serialized_exported_program.json")


class ForeignFile(NamedTuple):
    """The kind of a file, and how to come by the one that is wanted."""

    what: str
    remedy: str


_DOWNLOAD_AGAIN = "download the file itself: the address gave a page about it"
_FROM_BEFORE = "give the ONNX file or the weights that it was made from"
_BY_BEGINNING = (
    (b"version https://git-lfs", "is a Git LFS pointer, not the file", "run git lfs pull"),
    (b"<!DOCTYPE", "is a web page", _DOWNLOAD_AGAIN),
    (b"<!doctype", "is a web page", _DOWNLOAD_AGAIN),
    (b"<html", "is a web page", _DOWNLOAD_AGAIN),
    (b"<HTML", "is a web page", _DOWNLOAD_AGAIN),
    (b'<?xml version="1.0"?><net', "is a network of OpenVINO", _FROM_BEFORE),
    (b'<?xml version="1.0"?>\n<net', "is a network of OpenVINO", _FROM_BEFORE),
    (b"<net ", "is a network of OpenVINO", _FROM_BEFORE),
    (b"<?xml", "is an XML document, such as a server's error", _DOWNLOAD_AGAIN),
    (b"\x89HDF", "is an HDF5 file, as Keras writes them", "convert it to a torch state dict"),
    (b"\x1f\x8b", "is compressed by gzip", "unpack it with gunzip"),
    (b"BZh", "is compressed by bzip2", "unpack it with bunzip2"),
    (b"\xfd7zXZ", "is compressed by xz", "unpack it with unxz"),
    (b"7z\xbc\xaf", "is a 7z archive", "unpack it"),
    (b"Rar!", "is a RAR archive", "unpack it"),
    (b"ftrt", "is an engine of TensorRT", _FROM_BEFORE),
    (b"GGUF", "is a GGUF file of a language model", "give an image classifier"),
    (b"\x93NUMPY", "is a NumPy array", "save the state dict with torch.save"),
)


def recognise(content: bytes) -> ForeignFile | None:
    """Return what a file is that is neither weights nor an ONNX graph; None where unknown."""
    if not content:
        return ForeignFile("is empty", "copy the file again")
    beginning = content[:_HEAD_BYTES].lstrip(b"\xef\xbb\xbf \r\n\t")
    for first, what, remedy in _BY_BEGINNING:
        if beginning.startswith(first):
            return ForeignFile(what, remedy)
    if content[4:8] == b"TFL3":
        return ForeignFile("is a TensorFlow Lite model", _FROM_BEFORE)
    if content[4:8] == b"ORTM":
        return ForeignFile("is a model in ONNX Runtime's own format", _FROM_BEFORE)
    if content[257:262] == b"ustar":
        return ForeignFile("is a tar archive", "unpack it")
    return _archive(content) if content.startswith(b"PK") else None


def _archive(content: bytes) -> ForeignFile | None:
    """Return what a zip archive is that torch.save did not write; None for one that it wrote."""
    try:
        names = zipfile.ZipFile(io.BytesIO(content)).namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        return None
    ends = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in ends or any("/code/" in name for name in names):
        return ForeignFile(
            "is a TorchScript archive, not a state dict",
            "save the weights: torch.save(torch.jit.load(FILE).state_dict(), NEW_FILE)",
        )
    if any(name.endswith(_PROGRAM) for name in names):
        return ForeignFile(
            "is a program of torch.export, not a state dict",
            "save the weights: torch.save(torch.export.load(FILE).state_dict, NEW_FILE)",
        )
    if "data.pkl" in ends:
        return None
    if names and all(name.endswith(".npy") for name in names):
        return ForeignFile("is an archive of NumPy arrays", "save the state dict with torch.save")
    if "model.weights.h5" in ends:
        return ForeignFile("is a Keras model", "convert it to ONNX or to a torch state dict")
    first = ", ".join(names[:_NAMES]) + (", ..." if len(names) > _NAMES else "")
    return ForeignFile(f"is a zip archive of {first or 'nothing'}", "unpack it and give one file")
