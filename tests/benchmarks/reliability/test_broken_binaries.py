"""The mutators of binary formats give what their seeds say, and it differs from what was sound."""

import random
from pathlib import Path

import onnx
import pytest
import torch

from benchmarks.reliability.broken_inputs import (
    binary,
    binary_formats,
    image_banks,
    image_files,
    networks,
    onnx_files,
    onnx_graphs,
    pickles,
    safetensors_files,
    torch_checkpoints,
)
from benchmarks.reliability.broken_inputs.harness import Format, Share, piece

_QUICK = (safetensors_files.SAFETENSORS, torch_checkpoints.ARCHIVES, image_banks.BANKS)
_SEEDS = range(12)


@pytest.mark.parametrize("known", _QUICK, ids=lambda known: known.name)
def test_a_seed_is_enough_to_break_the_same_again(known: Format, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    known.prepare(shared)
    result = []
    for number, seed in enumerate((1, 1, 2)):
        folder = tmp_path / str(number)
        folder.mkdir()
        broken = known.break_one(random.Random(seed), folder, shared)  # noqa: S311
        result.append((broken, {p.name: p.read_bytes() for p in folder.iterdir()}))
    assert result[0] == result[1]
    assert result[0] != result[2]


def test_onnx_files_and_images_are_broken_in_many_ways() -> None:
    content = onnx_graphs.sound_model().SerializeToString()
    kinds = set()
    for seed in _SEEDS:
        rng = random.Random(seed)  # noqa: S311
        what, changed = onnx_files.broken(rng, onnx.load_model_from_string(content))
        kinds.add(what)
        assert isinstance(changed, bytes)
        image_files.broken(rng)
    assert len(kinds) > len(_SEEDS) // 2


def test_broken_pickles_and_their_calls_are_put_into_a_checkpoint(tmp_path: Path) -> None:
    torch.save(networks.network().state_dict(), tmp_path / "w.pt")
    (content,) = (
        part.content
        for part in binary.members((tmp_path / "w.pt").read_bytes())
        if part.name.endswith("data.pkl")
    )
    broken = [pickles.broken(random.Random(seed), content) for seed in range(200)]  # noqa: S311
    assert any("harmful" in what for what, _ in broken)
    assert sum(changed != content for _, changed in broken) > 190


def test_cases_of_the_piece_are_survived(tmp_path: Path) -> None:
    played = piece("few", "", [Share(image_banks.BANKS, 2), Share(onnx_files.ONNX, 3)])
    shared = tmp_path / "shared"
    shared.mkdir()
    played.prepare(shared)
    for case in played.cases(0):
        folder = tmp_path / str(case.number)
        folder.mkdir()
        assert not played.play(case, folder, shared).fault
    assert sum(share.cases for share in binary_formats.SHARES) == 2700
