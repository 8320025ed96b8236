"""A real run is followed from outside, and what grew is told from what did not."""

import json
from pathlib import Path

import pytest

from benchmarks.reliability import long_run, process_samples
from benchmarks.reliability.process_samples import Sample

MIB = 2**20


def judged(home: Path, *, leaked_bytes: float = 0, leaked_handles: float = 0) -> str:
    """Return what is said of 20,000 rounds in 100 s that leak so much in each thousand."""
    points = [(float(second), 200 * second) for second in range(101)]
    samples = [
        Sample(
            time_s=half / 2,
            rss_bytes=int(900 * MIB + leaked_bytes * half / 10 + (half * 7919) % 4096),
            pss_bytes=800 * MIB,
            handles=int(8 + leaked_handles * half / 10),
            threads=3,
            processes=1,
            folder_bytes=MIB,
        )
        for half in range(200)
    ]
    return long_run.judge(samples, points, home).fault


def test_growth_is_a_fault_and_noise_is_none(tmp_path: Path) -> None:
    assert judged(tmp_path) == ""
    assert judged(tmp_path, leaked_bytes=0.5 * MIB) == ""
    assert judged(tmp_path, leaked_bytes=2 * MIB).startswith(
        "expected rss_bytes per 1,000 units below 1,048,576, seen Slope("
    )
    assert judged(tmp_path, leaked_handles=0.5).startswith("expected handles to keep their level")


def test_how_far_a_stage_is_comes_from_its_log(tmp_path: Path) -> None:
    log = tmp_path / "work" / "distill" / "0f" / "events.jsonl"
    log.parent.mkdir(parents=True)
    events = [
        {"time_s": 1.5, "kind": "progress", "stage": "distill", "done": 3, "unit": "rounds"},
        {"time_s": 2.0, "kind": "progress", "stage": "distill", "done": 9, "unit": "images"},
        {"time_s": 2.5, "kind": "note", "stage": "distill", "text": "x"},
    ]
    text = "\n".join(json.dumps(event) for event in events) + '\n{"time_s": 9'
    log.write_text(text, encoding="utf-8")
    assert long_run.progress(tmp_path, long_run.WORKS[0]) == [(1.5, 3)]


def test_bytes_of_a_folder_are_those_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_bytes(bytes(100))
    (tmp_path / "b").write_bytes(bytes(10))
    assert process_samples.folder_bytes(tmp_path) == 110


@pytest.mark.slow
def test_a_short_run_keeps_its_handles_and_threads(tmp_path: Path) -> None:
    # Of known networks no export is tried first.
    known = ("teacher.arch=resnet8", "student.arch=resnet8", "teacher.epochs=1")
    case = long_run.cases(0)[0]
    outcome = long_run.play(case, tmp_path, tmp_path, units=100, more=known)
    assert outcome.fault == ""
    assert outcome.figures["units"] == 100
    assert outcome.figures["handles"] > 3
    assert outcome.figures["processes"] == 1
