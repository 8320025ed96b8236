"""Broken texts and records: cases are survived, and the judge catches every fault planted."""

import random
from pathlib import Path

import pytest

from benchmarks.reliability.broken_inputs import (
    actions,
    binary_formats,
    formats,
    json_files,
    judging,
    labels,
    options,
    settings_file,
    shared_caches,
)
from benchmarks.reliability.broken_inputs.fork_server import MAX_BYTES, Ended, Layout
from benchmarks.reliability.broken_inputs.harness import Broken, Format, Share, piece
from benchmarks.reliability.cases import Outcome, Piece

_WORDS = ["status"]
_FINE = {"code": 0, "seconds": 0.1, "peak_bytes": 10}


def _outcomes(played: Piece, folder: Path) -> list[Outcome]:
    shared = folder / "shared"
    shared.mkdir()
    played.prepare(shared)
    outcomes = []
    for case in played.cases(0):
        place = folder / str(case.number)
        place.mkdir()
        outcomes.append(played.play(case, place, shared))
    return outcomes


def test_cases_of_the_piece_are_survived(tmp_path: Path) -> None:
    shares = [
        Share(settings_file.GRAMMAR, 3),
        Share(settings_file.VALUES, 3),
        Share(options.SET_VALUES, 2),
        Share(shared_caches.PLACES, 2),
    ]
    outcomes = _outcomes(piece("few", "", shares), tmp_path)
    assert [outcome.fault for outcome in outcomes] == [""] * 10
    assert sum(share.cases for share in (*formats.SHARES, *binary_formats.SHARES)) == 10_000


def _with_factory(_rng: random.Random, folder: Path, _shared: Path) -> Broken:
    """Name a network whose code is the user's own, and so runs: what the harness must see."""
    code = (
        f"import os\ndef f():\n    os.mkdir('../foreign/{actions.CANARY}')\n    raise SystemExit\n"
    )
    (folder / "own.py").write_text(code, encoding="utf-8")
    (folder / "pipeline.toml").touch()
    return Broken("code that runs", ["run", "teacher", "--set", "teacher.arch=own.py:f"])


def test_code_that_runs_is_seen(tmp_path: Path) -> None:
    planted = Format("planted", lambda _shared: None, _with_factory)
    (outcome,) = _outcomes(piece("planted", "", [Share(planted, 1)]), tmp_path)
    assert "ran code out of the input" in outcome.fault


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """The folders of a case, with one file of the user's and one stored stage."""
    folders = Layout(tmp_path)
    entry = folders.project / ".madpipe" / "entries" / "distill" / "0123"
    for folder in (entry, folders.foreign, folders.home, folders.temporary):
        folder.mkdir(parents=True)
    (folders.project / "mine.txt").write_text("mine", encoding="utf-8")
    (folders.foreign / "notes.txt").write_text("theirs", encoding="utf-8")
    return folders


@pytest.mark.parametrize(
    ("ended", "errors"),
    [
        (_FINE | {"code": -11}, ""),
        (_FINE | {"code": 7}, "a: b; c"),
        (_FINE | {"peak_bytes": MAX_BYTES + 1}, ""),
        (_FINE | {"seconds": 21.0}, ""),
        (_FINE | {"code": -9, "killed_for": "20 s"}, ""),
        (_FINE | {"left_running": 1}, ""),
        (_FINE | {"code": 1}, ""),
        (_FINE | {"code": 1}, "KeyError: 'x'"),
        (_FINE | {"code": 2}, "madpipe: unexpected KeyError ('x'); repeat with --traceback"),
        (_FINE, "Traceback (most recent call last):\n"),
        (_FINE, "x.py:3: RuntimeWarning: overflow\n"),
    ],
)
def test_a_command_that_ends_badly_is_at_fault(
    layout: Layout, ended: dict[str, object], errors: str
) -> None:
    layout.stream("stderr").write_text("a: b; c" if ended["code"] == 1 else "", encoding="utf-8")
    if ended == _FINE | {"code": 1}:
        assert not judging.fault(_WORDS, Ended(**ended), layout)  # type: ignore[arg-type]
    layout.stream("stderr").write_text(errors, encoding="utf-8")
    assert judging.fault(_WORDS, Ended(**ended), layout)  # type: ignore[arg-type]


def test_a_file_that_is_not_madpipes_may_not_change(layout: Layout) -> None:
    before = judging.look(layout)
    mine, notes = layout.project / "mine.txt", layout.foreign / "notes.txt"
    assert not judging.changed(_WORDS, (), before, layout)
    mine.write_text("changed", encoding="utf-8")
    assert "mine.txt" in judging.changed(_WORDS, (), before, layout)
    assert not judging.changed(_WORDS, ("mine.txt",), before, layout)
    mine.write_text("mine", encoding="utf-8")
    for place in (notes.with_name("new"), layout.temporary / "left", layout.home / "left"):
        place.touch()
        assert judging.changed(_WORDS, (), before, layout)
        place.unlink()
    (layout.project / ".madpipe" / "entries" / "distill" / "0123").rmdir()
    assert "removed a stored stage" in judging.changed(_WORDS, (), before, layout)
    assert not judging.changed(["cache", "gc"], (), before, layout)


def test_what_no_input_may_bring_about_is_noted(layout: Layout) -> None:
    noted: list[str] = []
    project, foreign = str(layout.project), str(layout.foreign)
    observer = actions.Observer(actions.Folders(project, foreign, (project,)), noted.append)
    code = compile(f"{actions.CANARY} = 1", "<string>", "exec")
    for event, arguments in (
        ("open", (f"{foreign}/x", "w", 1)),
        ("open", (f"{project}/../foreign/notes.txt", "r", 0)),
        ("os.remove", ("/x", -1)),
        ("os.rename", (f"{project}/a", f"{foreign}/a", -1, -1)),
        ("exec", (code,)),
        ("exec", (compile("1", f"{project}/x.py", "exec"),)),
        ("os.system", (b"id",)),
        ("subprocess.Popen", ("/bin/sh", ["sh"], None, None)),
        ("pickle.find_class", ("os", "system")),
        ("socket.connect", (None, ("192.0.2.1", 80))),
        ("ctypes.dlopen", (f"{project}/x.so",)),
    ):
        noted.clear()
        observer(event, arguments)
        assert len(noted) == 1, event
    noted.clear()
    observer("open", (f"{project}/x", "w", 1))
    observer("os.mkdir", (f"{project}/y", 0o777, -1))
    observer("ctypes.dlopen", ("libm.so.6",))
    assert not noted


def test_a_seed_is_enough_to_break_the_same_again(tmp_path: Path) -> None:
    content = b'{"a": {"b": [1, 2.5, "x"]}, "c": null}'
    outcomes = [json_files.broken(random.Random(seed), content) for seed in (*range(60), 0)]  # noqa: S311
    assert outcomes[0] == outcomes[-1]
    assert len({changed for _, changed in outcomes}) > 50
    for number, known in enumerate((settings_file.GRAMMAR, options.SET_VALUES)):
        folders = [tmp_path / f"{number}-{turn}" for turn in range(2)]
        for folder in folders:
            folder.mkdir()
        first, again = (known.break_one(random.Random(3), folder, folder) for folder in folders)  # noqa: S311
        assert first == again
    assert {share.format.name for share in formats.SHARES} >= {labels.LABELS.name, "entries"}
