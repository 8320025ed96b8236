"""Several real processes train as one would, and the loss of one loses nothing."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.multiprocessing.spawn import (
    ProcessException,
    ProcessExitedException,
    ProcessRaisedException,
)

from pipeline.errors import StageError
from stages.distill.distributed import launch, rendezvous
from stages.distill.distributed.launch import loss, process_group
from stages.distill.job import Job, build_trainer
from stages.distill.trainer import DistillTrainer
from stages.training import state_file
from tests.stages.distill.tiny_training import children, teacher, trained_state
from tests.stages.distill.tiny_training import job as job_of

ROOT = Path(__file__).parents[4]


def job(**options: Any) -> Job:
    """Return a job of a method that several processes can share."""
    return job_of(**{"method": "mad", "student_steps": 2} | options)


def _train(trainer: DistillTrainer, rounds: int) -> dict[str, Tensor]:
    for _ in range(rounds):
        trainer.train_round()
    return trained_state(trainer)


def _trained(path: Path, rounds: int, **options: object) -> dict[str, Tensor]:
    chosen = job(**options)
    with process_group(chosen, path, None) as group:
        return _train(build_trainer(chosen, path, group)[0], rounds)


def test_one_process_is_a_group_of_one_and_starts_nothing(tmp_path: Path) -> None:
    with process_group(job(), teacher(tmp_path), None) as group:
        assert (group.rank, group.size, children()) == (0, 1, [])


COMPILED = pytest.param("uncond", "on", marks=pytest.mark.slow)


@pytest.mark.parametrize(("kind", "mode"), [("uncond", "off"), ("sum", "off"), COMPILED])
def test_two_processes_do_what_one_does_with_the_whole_batch(
    tmp_path: Path, kind: str, mode: str
) -> None:
    path = teacher(tmp_path)
    one = _trained(path, 2, generator=kind)
    two = _trained(path, 2, generator=kind, processes=2, compile=mode)
    assert one.keys() == two.keys()
    before = _trained(path, 0, generator=kind)
    for name, value in one.items():
        if not value.is_floating_point():
            assert torch.equal(value, two[name]), name
            continue
        moved = (value - before[name]).abs().max().item()
        # What differs is rounding; Adam's first steps magnify it where a gradient is nearly 0.
        assert (value - two[name]).abs().max().item() <= 0.05 * moved + 1e-6, name
    assert not children()


def test_the_loss_of_a_process_is_reported_with_its_signal(tmp_path: Path) -> None:
    chosen = job(rounds=10_000, processes=2)
    path = teacher(tmp_path)

    def kill_and_train() -> None:
        with process_group(chosen, path, None) as group:
            trainer, _ = build_trainer(chosen, path, group)
            trainer.train_round()
            (child,) = children()
            os.kill(child, signal.SIGKILL)
            trainer.run()

    with pytest.raises(
        StageError, match=r"distill.processes: process 1 of 2 was lost \(killed by SIGKILL\)"
    ):
        kill_and_train()
    assert not children()


def test_a_process_that_dies_before_it_joins_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill_and_join(*arguments: Any) -> None:
        os.kill(children()[0], signal.SIGKILL)
        rendezvous.join(*arguments)

    monkeypatch.setattr(launch, "join", kill_and_join)
    with (
        pytest.raises(StageError, match=r"process 1 of 2 was lost \(killed by SIGKILL\)"),
        process_group(job(processes=2), teacher(tmp_path), None),
    ):
        pass
    assert not children()


def test_of_three_processes_the_one_that_was_lost_first_is_named(tmp_path: Path) -> None:
    chosen = job(rounds=10_000, processes=3, batch_size=18)
    path = teacher(tmp_path)

    def kill_and_train() -> None:
        with process_group(chosen, path, None) as group:
            trainer, _ = build_trainer(chosen, path, group)
            trainer.train_round()
            os.kill(max(children()), signal.SIGKILL)
            trainer.run()

    with pytest.raises(StageError, match=r"process 2 of 3 was lost \(killed by SIGKILL\)"):
        kill_and_train()
    assert not children()


KILLED_WITH_A_WORKER = """
import os, signal, sys
from pathlib import Path
from stages.distill.distributed.launch import process_group
from tests.stages.distill.tiny_training import children, job
if __name__ == "__main__":
    with process_group(job(method="mad", processes=2), Path(sys.argv[1]), None):
        (child,) = children()
        print(child, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of a parent's death")
def test_a_worker_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    program = tmp_path / "main.py"
    program.write_text(KILLED_WITH_A_WORKER, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, program, teacher(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,  # held open by the worker: its end is the worker's
        check=False,
        timeout=240,
    )
    assert done.returncode == -signal.SIGKILL
    assert int(done.stdout)


@pytest.mark.parametrize("symptom", [None, StageError("distill", "collapsed", "set another")])
def test_a_message_that_waits_for_a_lost_process_is_ended_and_nothing_of_it_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, symptom: StageError | None
) -> None:
    # Of NCCL, which raises nothing: the loss shows in no message that follows.
    is_ended = threading.Event()
    world = SimpleNamespace(WORLD=SimpleNamespace(abort=is_ended.set))

    def lose_one() -> None:
        with process_group(job(processes=2), teacher(tmp_path), None) as group:
            group.check()
            monkeypatch.setattr(dist, "group", world)
            (child,) = children()
            os.kill(child, signal.SIGKILL)
            assert is_ended.wait(timeout=60)
            with pytest.raises(StageError, match="process 1 of 2 was lost"):
                group.check()
            if symptom:
                raise symptom

    with pytest.raises(StageError, match=r"process 1 of 2 was lost \(killed by SIGKILL\)"):
        lose_one()


def test_an_error_here_is_not_blamed_on_the_others_and_ends_them(tmp_path: Path) -> None:
    def fail() -> None:
        with process_group(job(rounds=10_000, processes=2), teacher(tmp_path), None):
            raise RuntimeError("something of our own")

    with pytest.raises(RuntimeError, match="something of our own"):
        fail()
    assert not children()


def test_what_every_process_refuses_reads_as_it_does_where_one_trains(tmp_path: Path) -> None:
    def refuse() -> None:
        chosen = msgspec.structs.replace(
            job_of(processes=2), student_arch=f"{code.name}:make", student_code=code
        )
        with process_group(chosen, teacher(tmp_path), None) as group:
            build_trainer(chosen, teacher(tmp_path), group)

    code = tmp_path / "net.py"
    layers = "nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4, affine=False), nn.Flatten(), nn.Linear(144, 10)"
    code.write_text(f"from torch import nn\ndef make(): return nn.Sequential({layers})\n", "utf-8")
    with pytest.raises(
        StageError, match=r"only BatchNorm2d .* set distill\.processes = 1"
    ) as failed:
        refuse()
    assert "was lost" not in str(failed.value)


def test_two_processes_go_on_from_a_checkpoint_bit_by_bit(tmp_path: Path) -> None:
    path, checkpoint = teacher(tmp_path), tmp_path / "state"
    chosen = job(processes=2)
    whole = _trained(path, 4, processes=2)
    with process_group(chosen, path, None) as group:
        trainer, _ = build_trainer(chosen, path, group)
        _train(trainer, 2)
        state_file.save(checkpoint, trainer.state())
    with process_group(chosen, path, checkpoint) as group:
        trainer, _ = build_trainer(chosen, path, group)
        trainer.restore(state_file.load(checkpoint))
        resumed = _train(trainer, 2)
    assert all(torch.equal(whole[name], value) for name, value in resumed.items())


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (
            ProcessRaisedException("Traceback\nValueError: too large\n", 1, 7),
            "ValueError: too large",
        ),
        (
            ProcessRaisedException("Trace\npipeline.errors.StageError: net: bad; mend it\n", 1, 7),
            "net: bad; mend it",
        ),
        (ProcessExitedException("", 1, 7, 3), "ended with 3"),
        (ProcessExitedException("", 1, 7, -9, "SIGKILL"), "killed by SIGKILL"),
    ],
)
def test_a_lost_process_is_named_with_its_cause(error: ProcessException, cause: str) -> None:
    message = str(loss(error, 3))
    assert message.startswith(f"distill.processes: process 2 of 3 was lost ({cause})")


UNDER_TORCHRUN = """
import atexit, os, signal, sys, threading, time
import torch.distributed as dist
from pipeline.cli.main import main

def die():
    while not dist.is_initialized():
        time.sleep(0.1)
    time.sleep(1)
    os.kill(os.getpid(), signal.SIGKILL)

if os.environ["RANK"] == "1":
    atexit.register(os.abort)
if "--lost" in sys.argv:
    sys.argv.remove("--lost")
    if os.environ["RANK"] == "1":
        threading.Thread(target=die, daemon=True).start()
main(["run", "distill", "--json", *sys.argv[1:]])
"""


def _torchrun(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Distil in two processes of torchrun, for so many rounds that one can be lost."""
    (folder / "pipeline.toml").write_text(
        'seed = 0\n[teacher]\narch = "resnet8"\nepochs = 3\n[distill]\nmethod = "mad"\n'
        "rounds = 40\nbatch_size = 32\ngenerator_width = 16\n"
        "generator_learning_rate = 0.01\nbank_size = 32\n"
        'precision = "fp32"\n',
        encoding="utf-8",
    )
    (folder / "main.py").write_text(UNDER_TORCHRUN, encoding="utf-8")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    return subprocess.run(
        [*launcher, "--standalone", "main.py", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


@pytest.mark.slow
def test_torchrun_trains_with_its_ranks_and_ends_them_when_there_is_nothing_to_train(
    tmp_path: Path,
) -> None:
    outputs = []
    for _ in range(2):
        done = _torchrun(tmp_path)
        assert done.returncode == 0, done.stderr
        outputs.append([json.loads(line) for line in done.stdout.splitlines()])
    first, second = (
        {e["stage"]: e["status"] for e in events if e["kind"] == "stage_done"} for events in outputs
    )
    assert (first["distill"], second["distill"]) == ("ran", "hit")
    figures = {e["name"]: e["value"] for e in outputs[0] if e["kind"] == "metric"}
    assert figures["processes"] == 2


@pytest.mark.slow
def test_a_process_of_torchrun_that_is_lost_is_reported_by_rank_0_and_torchrun(
    tmp_path: Path,
) -> None:
    done = _torchrun(tmp_path, "--lost", "--set", "distill.rounds=100000")
    assert done.returncode == 1
    assert "a message between the processes of torchrun failed" in done.stderr
    assert "Signal 9 (SIGKILL)" in done.stderr


def test_a_process_that_was_ended_while_it_wrote_its_error_is_lost_and_no_fault_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class HalfWritten:
        processes: tuple[()] = ()
        error_files: tuple[()] = ()

        def join(self, *_: object, **__: object) -> bool:
            raise EOFError

    monkeypatch.setattr(launch, "start_processes", lambda *_, **__: HalfWritten())
    workers = launch.Workers(2, 0)
    with pytest.raises(StageError, match=r"was lost .*while it wrote its error"):
        workers.check(10.0)
    workers.close()
