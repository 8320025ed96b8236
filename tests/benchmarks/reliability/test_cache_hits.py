"""A few cases of wrong hits and needless runs, and that a planted fault is found."""

import ast
from pathlib import Path

import pytest

from benchmarks.reliability.cache_hits import (
    changed_modules,
    changed_settings,
    expected,
    piece,
    probe,
    truth,
)
from benchmarks.reliability.cases import Outcome
from pipeline.cache import externals
from pipeline.cache.entry import EntryRecord, OutputRecord
from pipeline.stage import External

LINK = "data: another target of a link, of equal size"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shared")
    piece.PIECE.prepare(folder)
    return folder


def played(what: str, folder: Path, shared: Path) -> Outcome:
    case = next(case for case in piece.PIECE.cases(0) if case.what == what)
    return piece.PIECE.play(case, folder, shared)


@pytest.mark.parametrize(
    "what",
    [
        "setting distill.alpha (digits)",
        "setting data.root (bank)",
        "bound 0 gates.student_top1_drop",
        LINK,
        "code: what its package imports",
        "same: files that systems leave",
        "same: the data in another folder",
        "inputs of stages (folders)",
        "fact another driver",
        "package torch (digits)",
    ],
)
def test_a_change_reaches_the_keys_that_it_can_reach(
    what: str, tmp_path: Path, shared: Path
) -> None:
    assert played(what, tmp_path, shared).fault == ""


def test_a_folder_that_is_not_read_again_is_found(
    tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files_of = externals._files

    def by_size_and_time(external: External) -> list[externals._File]:
        return [file._replace(changed_ns=0, number=0) for file in files_of(external)]

    monkeypatch.setattr(externals, "_files", by_size_and_time)
    fault = played(LINK, tmp_path, shared).fault
    assert fault.startswith("WRONG HIT of teacher, validate: ")


def test_every_setting_has_another_value_and_stages_that_it_can_reach() -> None:
    for name in changed_settings.names():
        for table in expected.SETTINGS.values():
            assert expected.stages_of(name, table) is not None, name


def test_keys_are_judged_both_ways() -> None:
    both, one = frozenset({"build", "export"}), frozenset({"export"})
    assert probe.judged(both, both) == ""
    assert probe.judged(both, one).startswith("WRONG HIT of build: ")
    assert probe.judged(one, both).startswith("needless run of build: ")


def test_a_module_that_a_stage_runs_must_be_in_its_key() -> None:
    loaded = {"export": frozenset({"stages.export.compare"})}
    seen = dict.fromkeys(("digits", "folders"), frozenset[str]())
    fault, _ = changed_modules.judged("stages.export.compare", loaded, seen)
    assert fault.startswith("WRONG HIT of export: ")
    hit = dict.fromkeys(seen, frozenset({"export"}))
    assert changed_modules.judged("stages.export.compare", loaded, hit) == ("", "")
    fault, _ = changed_modules.judged("stages.packaging.web", loaded, hit)
    assert fault.startswith("needless run of export: ")


@pytest.mark.parametrize("seed", range(3))
def test_a_module_is_changed_for_real(seed: int) -> None:
    source = 'x = f"{1 + 1}"\n\n\ndef f() -> int:\n    return 4\n'
    changed = changed_modules.changed_source(source, seed)
    assert changed != source
    assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(source))


def test_the_same_key_with_other_bytes_is_a_wrong_hit() -> None:
    def records(sha256: str) -> dict[str, EntryRecord]:
        output = OutputRecord(file="a", sha256=sha256, bytes=1)
        record = EntryRecord(
            stage="any",
            key="k",
            key_document={},
            outputs={"out": output},
            metrics={},
            seconds=0.0,
            resumed=False,
            created_utc="",
            madpipe="",
            host={},
        )
        return dict.fromkeys(("teacher", "distill", "export", "build"), record)

    assert truth._compared(records("1"), records("1")).fault == ""
    fault = truth._compared(records("1"), records("2")).fault
    assert fault.startswith("WRONG HIT of teacher: the same key, other bytes (out); ")
