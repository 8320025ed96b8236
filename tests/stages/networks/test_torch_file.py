"""Torch checkpoints that are torn, or describe what would not fit into memory."""

import io
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pipeline.errors import StageError
from stages.networks import weights
from tests.stages.tiny import resnet8

_INDICES = torch.zeros(2, 1, dtype=torch.int64)


@pytest.mark.parametrize(
    "tensor",
    [
        pytest.param(torch.zeros(1).expand(2**20, 2**20), id="one value repeated"),
        pytest.param(torch.zeros(1).expand(2**50), id="more than an address space"),
        pytest.param(
            torch.sparse_coo_tensor(_INDICES, torch.ones(1), (2**31, 2**31), check_invariants=True),
            id="sparse",
        ),
    ],
)
def test_a_tensor_far_larger_than_its_values_is_refused(tmp_path: Path, tensor: Tensor) -> None:
    torch.save({"fc.weight": tensor, "fc.bias": torch.zeros(3)}, tmp_path / "w.pt")
    with pytest.raises(StageError, match=r"^here: describes far more than it holds .*w\.pt"):
        weights.read(tmp_path / "w.pt", "here")


def test_sparse_and_repeated_tensors_of_usual_sizes_are_read(tmp_path: Path) -> None:
    eye = torch.eye(64)
    torch.save({"a": eye.to_sparse(), "b": eye[:1].expand(9, 64)}, tmp_path / "w.pt")
    read = weights.read(tmp_path / "w.pt", "here")
    assert read["a"].equal(eye)
    assert read["b"].shape == (9, 64)


def test_a_checkpoint_that_unpacks_to_a_thousand_times_its_bytes_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(2, 2)}, tmp_path / "w.pt")
    with zipfile.ZipFile(tmp_path / "w.pt", "a", zipfile.ZIP_DEFLATED) as archive:
        folder = archive.namelist()[0].partition("/")[0]
        with archive.open(f"{folder}/data/99", "w") as file:
            for _ in range(300):
                file.write(bytes(1 << 20))
    with pytest.raises(StageError, match=r"^here: describes far more than it holds"):
        weights.read(tmp_path / "w.pt", "here")


def test_an_old_checkpoint_whose_storages_are_of_another_is_torn(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(2, 2)}, buffer, _use_new_zipfile_serialization=False)
    stream = io.BytesIO(buffer.getvalue())
    for _ in range(3):
        pickle.load(stream)  # noqa: S301  (made here)
    head = stream.getvalue()[: stream.tell()]
    rest = buffer.getvalue()[len(head) :]
    # An object without any storage, and behind it the keys and bytes of one.
    inner = pickle.dumps({}, 2)
    keys = rest.rindex(b"\x80\x02]")
    (tmp_path / "w.pth").write_bytes(head + inner + rest[keys:])
    with pytest.raises(StageError, match=r"^here: is truncated or no torch checkpoint"):
        weights.read(tmp_path / "w.pth", "here")


@pytest.mark.parametrize("name", ["fc.bias", "bn1.num_batches_tracked"])
def test_complex_numbers_are_no_weights(name: str) -> None:
    network = resnet8()
    tensors = dict(network.state_dict())
    tensors[name] = tensors[name].to(torch.complex64)
    with pytest.raises(StageError, match=rf"^here: weights are complex64, not floats \({name}\)"):
        weights.fill(network, tensors, arch="resnet8", place="here")
