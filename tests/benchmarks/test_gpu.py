"""What the script for a machine with a GPU brings back, and that it leaves nothing running."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from benchmarks import gpu, gpu_figures, gpu_pieces
from benchmarks.gpu_figures import Figures, Parcel
from benchmarks.short_runs import with_changes
from pipeline.config import template
from pipeline.config.presets import PRESETS
from pipeline.project import Project
from stages.catalog import declare
from stages.networks import factory

ROOT = Path(__file__).parent.parent.parent
METHODS = {"abm": "abm", "madpipe": "madpipe", "all-madpipe": "madpipe"}
SLEEP = ["timeit", "-n", "1", "import time; time.sleep(300)"]


def _parcel(piece: str = "mad", size: int = 1000) -> Parcel:
    figures = Figures(
        piece=piece,
        is_done=True,
        seconds=1.0,
        gpu_hours=1 / 3600,
        metrics={},
        settings=[],
        environment={},
    )
    return Parcel(figures, {"a": os.urandom(size), "b": b"text"})


def _row(folder: Path) -> gpu.Row:
    row = gpu.Row(
        data=folder,
        home=folder / "home",
        out=folder / "out",
        settings=(),
        is_tiny=True,
        stop_s=0.1,
    )
    row.prepare(None)
    return row


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False


def _waited(call: Callable[[], object]) -> bool:
    for _ in range(600):
        if call():
            return True
        time.sleep(0.05)
    return False


def test_files_travel_in_parts_and_come_together_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_figures, "PART_BYTES", 3000)
    parcel = _parcel(size=8000)
    assert gpu_figures.deliver(parcel, tmp_path) == []
    parts = sorted(tmp_path.glob("mad.tar.*"))
    assert len(parts) > 2
    assert all(part.stat().st_size <= 3000 for part in parts)
    assert gpu_figures.joined(tmp_path, "mad") == parcel.files
    gpu.join(tmp_path, tmp_path / "joined")
    assert (tmp_path / "joined" / "mad" / "a").read_bytes() == parcel.files["a"]


@pytest.mark.parametrize("damage", ["changed", "missing", "without figures"])
def test_parts_that_are_not_what_was_written_are_refused(tmp_path: Path, damage: str) -> None:
    gpu_figures.deliver(_parcel(), tmp_path)
    part = tmp_path / "mad.tar.00"
    if damage == "changed":
        content = bytearray(part.read_bytes())
        content[600] ^= 1
        part.write_bytes(content)
    else:
        (part if damage == "missing" else tmp_path / "mad.json").unlink()
    with pytest.raises(ValueError, match="bring"):
        gpu_figures.joined(tmp_path, "mad")


def test_what_does_not_fit_is_left_behind_but_not_the_small_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_figures, "MOST_BYTES", 30_000)
    monkeypatch.setattr(gpu_figures, "SMALL_BYTES", 100)
    assert gpu_figures.deliver(_parcel("teacher"), tmp_path) == []
    assert gpu_figures.deliver(_parcel("mad", size=20_000), tmp_path) == ["a"]
    assert gpu_figures.joined(tmp_path, "mad") == {"b": b"text"}
    monkeypatch.setattr(gpu_figures, "MOST_FILES", 3)
    assert gpu_figures.deliver(_parcel("mad"), tmp_path) == ["a", "b"]
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"teacher.json", "teacher.tar.00", "mad.json"}
    assert gpu_figures.read(tmp_path / "mad.json").parts == []


def test_a_teacher_is_halved_but_for_what_has_one_axis(tmp_path: Path) -> None:
    tensors = {
        "kernel": torch.rand(4, 3, 3, 3),
        "variance": torch.tensor([1e-9, 1e6]),
        "count": torch.tensor(7),
    }
    safetensors.torch.save_file(tensors, tmp_path / "w", {"madpipe.card": "the card"})
    (tmp_path / "half").write_bytes(gpu_figures.halved(tmp_path / "w"))
    half = safetensors.torch.load_file(tmp_path / "half")
    assert half["kernel"].dtype == torch.float16
    assert torch.equal(half["variance"], tensors["variance"])
    assert half["count"] == 7
    with safetensors.safe_open(tmp_path / "half", "pt") as file:
        assert file.metadata() == {"madpipe.card": "the card"}


def test_a_script_that_takes_too_long_is_stopped_and_what_it_printed_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(gpu_pieces.TINY_SCRIPTS, "rounds", "benchmarks.gpu --help")
    row = _row(tmp_path)
    assert row.run("rounds", 60.0) == "done"
    row.write_log()
    assert "PIECE" in (row.out / "log.txt").read_text("utf-8")
    monkeypatch.setitem(gpu_pieces.TINY_SCRIPTS, "rounds", "no_such_module")
    assert row.run("rounds", 60.0) == "done"  # by the call before
    assert row._child("engines", [gpu.MODULE, *SLEEP], 1.0) is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_children_end_with_the_script(tmp_path: Path, number: signal.Signals) -> None:
    code = f"""
import signal, sys
from pathlib import Path
from benchmarks import gpu
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
row = gpu.Row(data=Path({str(tmp_path)!r}), home=Path({str(tmp_path)!r}),
              out=Path({str(tmp_path)!r}), settings=(), is_tiny=True, stop_s=0.1)
sleep = "import os, time; open({str(tmp_path / "pid")!r}, 'w').write(str(os.getpid()))"
row._child("rounds", [gpu.MODULE, "timeit", "-n", "1", sleep + "; time.sleep(300)"], 300.0)
"""
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) as parent:
        pid = tmp_path / "pid"
        assert _waited(lambda: pid.is_file() and pid.read_text("utf-8"))
        child = int(pid.read_text("utf-8"))
        assert _is_running(child)
        parent.send_signal(number)
        parent.wait(timeout=60)
    assert _waited(lambda: not _is_running(child))


def test_an_unknown_piece_is_named() -> None:
    with pytest.raises(SystemExit, match=r"command line: no such piece \(techer\)"):
        list(gpu.limits(["tests:10", "techer"]))


@pytest.mark.parametrize("piece", gpu_pieces.STAGES)
def test_the_settings_of_a_piece_are_settings(tmp_path: Path, piece: str) -> None:
    settings = tmp_path / "pipeline.toml"
    settings.write_text(template.render(PRESETS["cifar10"]), encoding="utf-8")
    project = Project.open(settings, gpu_pieces.STAGES[piece][1:], declare)
    assert project.settings.distill.method == METHODS.get(piece, "mad")


@pytest.mark.parametrize("piece", ["warm", "short"])
def test_short_runs_are_of_the_rows_recipes(piece: str) -> None:
    words = gpu_pieces.SCRIPTS[piece].split()
    runs = [text for word, text in pairwise(words) if word == "--run"]
    methods = [with_changes(PRESETS["cifar10"].distill, text).method for text in runs]
    assert methods == ["mad", "madpipe", "madpipe"]


def test_random_weights_are_those_of_a_teacher(tmp_path: Path) -> None:
    for label in ("a", "b"):
        (tmp_path / "test" / label).mkdir(parents=True)
    gpu_figures.write_random(tmp_path / "random", "resnet8", tmp_path / "test")
    network, card = factory.load(tmp_path / "random", code=None, place="here")
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 2)
    assert card.classes == ("a", "b")


def test_a_piece_that_needs_a_teacher_says_so(tmp_path: Path) -> None:
    assert "name the piece teacher before" in _row(tmp_path).run("short", 60.0)


def _images(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        for label in range(10):
            target = folder / part / f"class{label}"
            target.mkdir(parents=True)
            for number in range(8):
                x_HWC = rng.integers(0, 60, (32, 32, 3))
                x_HWC[3 * label : 3 * label + 4] += 190
                Image.fromarray(x_HWC.astype(np.uint8)).save(target / f"{number}.png")


@pytest.mark.slow
def test_a_student_comes_back_unfinished_and_then_whole_and_a_teacher_is_carried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the next machine has no training images."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    _images(tmp_path / "data")

    def call(pieces: list[str], folder: str, *words: str) -> str:
        words = ("--set", "distill.rounds=40", "--set", "teacher.batch_size=16", "--tiny", *words)
        data, home, out = (str(tmp_path / name) for name in ("data", folder, f"{folder}-out"))
        folders = ["--data", data, "--home", home, "--out", out]
        command = [sys.executable, "-m", "benchmarks.gpu", *pieces, *folders, *words]
        return subprocess.check_output(command, cwd=ROOT, text=True, timeout=900)

    assert "teacher: done" in call(["teacher"], "one")
    (tmp_path / "data" / "train").rename(tmp_path / "elsewhere")
    carried = ("--carried", str(tmp_path / "one-out"))
    long = ("--set", "distill.rounds=2000", "--set", "run.checkpoint_every_s=0")
    assert "mad: stopped" in call(["mad:20"], "two", *carried, *long)
    files = gpu_figures.joined(tmp_path / "two-out", "mad")
    assert {"student.safetensors", "curves.jsonl", "events.jsonl"} == files.keys()
    assert not gpu_figures.read(tmp_path / "two-out" / "mad.json").is_done
    assert "all: done" in call(["mad", "all"], "two", *carried)
    assert (tmp_path / "two-out" / "report.html").is_file()
    figures = gpu_figures.read(tmp_path / "two-out" / "mad.json")
    assert figures.is_done
    assert figures.metrics["monitor_top1_last"] == figures.accuracy[-1].top1
    assert figures.teacher_top1
    assert {"student.safetensors", "samples.png", "bank.npz"} < gpu_figures.joined(
        tmp_path / "two-out", "mad"
    ).keys()
