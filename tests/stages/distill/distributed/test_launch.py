"""Several real processes play as one would, and the loss of one loses nothing."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pipeline.errors import StageError
from stages.distill.distributed import launch
from stages.distill.job import build_trainer
from stages.distill.trainer import DistillTrainer
from stages.training import checkpoint_io
from tests.stages.distill.tiny_training import children, job, teacher

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for children in /proc")


def _weights(game: DistillTrainer) -> dict[str, Tensor]:
    parts = {"student": game.student, "generator": game.generator, "ema": game.ema}
    return {
        f"{part}.{name}": each.detach().clone()
        for part, network in parts.items()
        for name, each in network.state_dict().items()
    }


def _played(path: Path, count: int, **options: object) -> dict[str, Tensor]:
    chosen = job(**options)
    with launch.hired(chosen, path, None) as group:
        game, _ = build_trainer(chosen, path, group)
        for _ in range(count):
            game.train_round()
        return _weights(game)


def test_one_process_is_a_group_of_one_and_starts_nothing(tmp_path: Path) -> None:
    with launch.hired(job(), teacher(tmp_path), None) as group:
        assert (group.rank, group.size, children()) == (0, 1, [])


@pytest.mark.parametrize("kind", ["uncond", "sum"])
def test_two_processes_do_what_one_does_with_the_whole_batch(tmp_path: Path, kind: str) -> None:
    path = teacher(tmp_path)
    alone = _played(path, 2, generator=kind)
    together = _played(path, 2, generator=kind, processes=2)
    assert alone.keys() == together.keys()
    before = _played(path, 0, generator=kind)
    for name, each in alone.items():
        if not each.is_floating_point():
            assert torch.equal(each, together[name]), name
            continue
        moved = (each - before[name]).abs().max().item()
        # What differs is rounding; Adam's first steps magnify it where a gradient is nearly 0.
        assert (each - together[name]).abs().max().item() <= 0.05 * moved + 1e-6, name
    assert not children()


def test_the_loss_of_a_process_is_told_with_its_signal(tmp_path: Path) -> None:
    chosen = job(rounds=10_000, processes=2)
    path = teacher(tmp_path)

    def play() -> None:
        with launch.hired(chosen, path, None) as group:
            game, _ = build_trainer(chosen, path, group)
            game.train_round()
            (child,) = children()
            os.kill(child, signal.SIGKILL)
            for _ in range(100):
                game.train_round()

    with pytest.raises(
        StageError, match=r"distill.processes: process 1 of 2 was lost \(killed by SIGKILL\)"
    ):
        play()
    assert not children()


def test_an_error_here_is_not_blamed_on_the_others_and_ends_them(tmp_path: Path) -> None:
    def fail() -> None:
        with launch.hired(job(rounds=10_000, processes=2), teacher(tmp_path), None):
            raise RuntimeError("something of our own")

    with pytest.raises(RuntimeError, match="something of our own"):
        fail()
    assert not children()


def test_two_processes_go_on_from_a_checkpoint_bit_by_bit(tmp_path: Path) -> None:
    path = teacher(tmp_path)
    chosen = job(processes=2)
    whole = _played(path, 4, processes=2)
    with launch.hired(chosen, path, None) as group:
        game, _ = build_trainer(chosen, path, group)
        for _ in range(2):
            game.train_round()
        checkpoint_io.save(tmp_path / "state", game.state())
    with launch.hired(chosen, path, tmp_path / "state") as group:
        game, _ = build_trainer(chosen, path, group)
        game.restore(checkpoint_io.load(tmp_path / "state"))
        for _ in range(2):
            game.train_round()
        again = _weights(game)
    assert all(torch.equal(whole[name], each) for name, each in again.items())


UNDER_TORCHRUN = """
import sys
from pipeline.cli.main import main
main(["run", "distill", "--json", *sys.argv[1:]])
"""


@pytest.mark.slow
def test_torchrun_plays_with_its_ranks_and_lets_them_go_when_there_is_nothing_to_play(
    tmp_path: Path,
) -> None:
    (tmp_path / "pipeline.toml").write_text(
        'seed = 0\n[teacher]\narch = "resnet8"\nepochs = 3\n[distill]\nrounds = 40\n'
        'batch_size = 32\ngenerator_width = 16\nbank_size = 32\nprecision = "fp32"\n',
        encoding="utf-8",
    )
    (tmp_path / "go.py").write_text(UNDER_TORCHRUN, encoding="utf-8")
    root = Path(__file__).parents[3]
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    outputs = []
    for _ in range(2):
        done = subprocess.run(
            [*launcher, "--standalone", "go.py"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr
        outputs.append([json.loads(line) for line in done.stdout.splitlines()])
    first, second = (
        {e["stage"]: e["status"] for e in events if e["kind"] == "stage_done"} for events in outputs
    )
    assert (first["distill"], second["distill"]) == ("ran", "hit")
    figures = {e["name"]: e["value"] for e in outputs[0] if e["kind"] == "metric"}
    assert figures["processes"] == 2
