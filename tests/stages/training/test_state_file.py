"""Checkpoints of training."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from stages.training import state_file


def test_tensors_numbers_and_optimisers_survive(tmp_path: Path) -> None:
    weight = torch.nn.Parameter(torch.rand(3))
    optimiser = torch.optim.Adam([weight])
    weight.grad = torch.ones(3)
    optimiser.step()
    rng = torch.Generator().manual_seed(5)
    state = {"step": 7, "optimiser": optimiser.state_dict(), "rng": rng.get_state()}
    state_file.save(tmp_path / "state", state)
    loaded = state_file.load(tmp_path / "state")
    assert loaded["step"] == 7
    assert torch.equal(loaded["rng"], rng.get_state())
    loaded_moments, moments = loaded["optimiser"]["state"][0], optimiser.state_dict()["state"][0]
    assert all(torch.equal(loaded_moments[name], moments[name]) for name in moments)


def test_a_checkpoint_replaces_the_one_before(tmp_path: Path) -> None:
    for step in (1, 2):
        state_file.save(tmp_path / "state", {"step": step})
    assert state_file.load(tmp_path / "state") == {"step": 2}
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


def test_code_in_a_checkpoint_is_never_run(tmp_path: Path) -> None:
    torch.save({"x": Bomb(tmp_path / "harm")}, tmp_path / "state")
    with pytest.raises(pickle.UnpicklingError):
        state_file.load(tmp_path / "state")
    assert not (tmp_path / "harm").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no file here that is always full")
def test_a_full_disk_is_an_error_of_the_system_and_not_of_torch() -> None:
    with pytest.raises(OSError, match="No space left"):
        state_file.save(Path("/dev/full"), {"weight": torch.rand(100_000)})


def _cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


@pytest.mark.parametrize(
    "damage", [_cut, lambda _: b"", lambda _: b"electricity", lambda _: pickle.dumps([1, 2])]
)
def test_a_damaged_checkpoint_is_noted_and_counts_as_none(
    damage: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    path, notes = tmp_path / "state", list[str]()
    state_file.save(path, {"x": torch.rand(5000)})
    assert state_file.load_if_sound(path, notes.append) is not None
    assert state_file.load_if_sound(None, notes.append) is None
    assert notes == []
    path.write_bytes(damage(path.read_bytes()))
    assert state_file.load_if_sound(path, notes.append) is None
    assert notes == [f"warning: the checkpoint is damaged, so that the stage begins anew ({path})"]
