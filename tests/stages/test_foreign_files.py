"""Files of other kinds, recognised by their first bytes."""

import io
import zipfile

import pytest

from stages.foreign_files import recognise


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "Git LFS pointer"),
        (b"\n  <!DOCTYPE html><html>", "web page"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"\0" * 257 + b"ustar", "tar archive"),
        (b"ftrt\0\0", "engine of TensorRT"),
        (b"\x1c\0\0\0TFL3", "TensorFlow Lite"),
        (b'<?xml version="1.0"?>\n<net name="x">', "network of OpenVINO"),
        (b"<?xml version='1.0'?><Error>", "server's error"),
    ],
)
def test_what_is_no_weights_file_is_named(content: bytes, wanted: str) -> None:
    foreign = recognise(content)
    assert foreign is not None
    assert wanted in foreign.what


def test_a_zip_archive_says_what_it_holds_unless_torch_wrote_it() -> None:
    for name, wanted in (
        ("best.pth", "zip archive of best.pth"),
        ("w/data.pkl", None),
        ("conv1.weight.npy", "archive of NumPy arrays"),
        ("model.weights.h5", "Keras model"),
    ):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr(name, b"")
        foreign = recognise(buffer.getvalue())
        assert wanted in foreign.what if foreign and wanted else not wanted


@pytest.mark.parametrize("content", [b"\x80\2", b"PK", b"\x08\x08\x12\x07pytorch"])
def test_what_is_not_known_is_left_to_its_reader(content: bytes) -> None:
    assert recognise(content) is None
