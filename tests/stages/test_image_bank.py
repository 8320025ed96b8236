"""The bank of synthetic images."""

import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.errors import StageError
from stages import image_bank
from stages.image_bank import StoredImages
from stages.networks.predict import predict


def test_images_come_back_within_half_a_grey_level(tmp_path: Path) -> None:
    torch.manual_seed(0)
    x_NCHW = torch.rand(5, 3, 4, 6)
    image_bank.save(tmp_path / "bank.npz", x_NCHW)
    loaded_NCHW = image_bank.load(tmp_path / "bank.npz", "the bank")
    assert loaded_NCHW.dtype == np.float32
    assert loaded_NCHW.flags["C_CONTIGUOUS"]
    np.testing.assert_allclose(loaded_NCHW, x_NCHW.numpy(), atol=0.5 / 255 + 1e-6)


def test_the_file_holds_bytes_of_shape_nhwc(tmp_path: Path) -> None:
    image_bank.save(tmp_path / "bank.npz", torch.tensor([[[[0.0, 1.0, 2.0, -1.0]]]]))
    with np.load(tmp_path / "bank.npz") as archive:
        assert archive["x"].dtype == np.uint8
        assert archive["x"].tolist() == [[[[0], [255], [255], [0]]]]


def test_the_same_images_give_the_same_bytes_at_any_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, now in (("a", 1e9), ("b", 1.7e9)):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        image_bank.save(tmp_path / name, torch.full((2, 1, 3, 3), 0.5))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_floats_of_shape_nchw_are_loaded_as_they_are(tmp_path: Path) -> None:
    x_NCHW = np.random.default_rng(0).random((2, 3, 4, 4), dtype=np.float32)
    np.savez(tmp_path / "bank.npz", x=x_NCHW)
    np.testing.assert_array_equal(image_bank.load(tmp_path / "bank.npz", "here"), x_NCHW)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"no archive at all"])
def test_a_damaged_file_is_refused_with_its_place(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bank.npz").write_bytes(content)
    with pytest.raises(StageError, match=r"^the bank: is no bank of images"):
        image_bank.load(tmp_path / "bank.npz", "the bank")


def test_a_bank_whose_compressed_bytes_are_damaged_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bank.npz"
    image_bank.save(path, torch.rand(8, 1, 16, 16))
    content = bytearray(path.read_bytes())
    content[60:90] = b"\xff" * 30
    path.write_bytes(content)
    with pytest.raises(StageError, match=r"^the bank: is no bank of images"):
        image_bank.load(path, "the bank")


def test_a_file_that_is_absent_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"bank.npz: No such file or directory\)"):
        image_bank.load(tmp_path / "bank.npz", "the bank")


def test_numpys_advice_to_unpickle_is_not_passed_on(tmp_path: Path) -> None:
    (tmp_path / "bank.npz").write_bytes(b"\x80\x04K\x03.")
    np.save(tmp_path / "bank.npy", np.zeros((1, 2, 2, 1), np.uint8))
    for name, reason in (("bank.npz", "no file of arrays"), ("bank.npy", "one array")):
        with pytest.raises(StageError, match=reason) as caught:
            image_bank.load(tmp_path / name, "here")
        assert "allow_pickle" not in str(caught.value)


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="is no bank of images"):
        image_bank.load(tmp_path / "none.npz", "here")


def test_an_archive_without_x_or_with_pickled_objects_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", y=np.zeros(3))
    np.savez(tmp_path / "pickled.npz", x=np.array([{"a": 1}], dtype=object))
    for name in ("other.npz", "pickled.npz"):
        with pytest.raises(StageError, match="is no bank of images"):
            image_bank.load(tmp_path / name, "here")


@pytest.mark.parametrize("shape", [(0, 4, 4, 1), (4, 4)])
def test_an_archive_without_images_is_refused_with_its_shape(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    np.savez(tmp_path / "bank.npz", x=np.zeros(shape, np.uint8))
    with pytest.raises(StageError, match="holds no images"):
        image_bank.load(tmp_path / "bank.npz", "here")


def test_stored_images_are_the_floats_of_those_that_are_asked_for() -> None:
    rng = np.random.default_rng(0)
    x_NHWC = rng.integers(0, 256, (6, 4, 5, 3), dtype=np.uint8)
    order_N = rng.permutation(6)
    x_NCHW = np.ascontiguousarray(x_NHWC[order_N].transpose(0, 3, 1, 2), np.float32)
    x_NCHW /= 255
    for images, nbytes in (
        (StoredImages(x_NHWC, order_N), 360), (StoredImages(x_NCHW), 4 * 360),
    ):  # fmt: skip
        assert (len(images), images.shape, images.nbytes) == (6, (6, 3, 4, 5), nbytes)
        assert np.array_equal(images, x_NCHW)
        some = images[2:5][np.array([2, 0])]
        assert np.array_equal(some, x_NCHW[[4, 2]])
        assert np.asarray(some).flags["C_CONTIGUOUS"]
        assert np.asarray(some, np.float64).dtype == np.float64
    logits_NK = predict(lambda x_BCHW: x_BCHW.reshape(len(x_BCHW), -1), images, batch_size=4)
    assert np.array_equal(logits_NK, x_NCHW.reshape(6, -1))


def test_images_of_two_banks_are_taken_in_turns() -> None:
    x_NHWC = np.arange(7, dtype=np.uint8).reshape(7, 1, 1, 1)
    first, second = StoredImages(x_NHWC[:4]), StoredImages(x_NHWC[4:], np.array([2, 0]))
    mixed = first.interleaved(second)
    assert (np.asarray(mixed) * 255).ravel().tolist() == [0, 6, 1, 4, 2, 3]
    assert (np.asarray(second.interleaved(first)) * 255).ravel().tolist() == [6, 0, 4, 1]


def test_a_bank_that_unpacks_to_a_thousand_times_its_bytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bank.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x.npy", "w") as x,
    ):
        for _ in range(300):
            x.write(bytes(1 << 20))
    with pytest.raises(StageError, match=r"^the bank: describes far more than it holds"):
        image_bank.load(path, "the bank")


@pytest.mark.parametrize(
    "header",
    ["{'descr': '|u1', 'fortran_order': False, 'shape': (2**60,)}", "(" * 5000, "{" * 3000, "",
     "{'descr': '|u1', 'fortran_order': False, 'shape': (1152921504606846976,), }"],
)  # fmt: skip
def test_an_array_whose_header_lies_is_refused(tmp_path: Path, header: str) -> None:
    size = len(header).to_bytes(2, "little")
    with zipfile.ZipFile(tmp_path / "bank.npz", "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\1\0" + size + header.encode() + bytes(100))
    with pytest.raises(StageError, match=r"^the bank: is no bank of images"):
        image_bank.load(tmp_path / "bank.npz", "the bank")
