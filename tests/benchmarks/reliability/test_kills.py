"""A share of the campaign of kills: a real run of the first stage, ended at one of its calls."""

import shutil
import sys
from pathlib import Path

import pytest

from benchmarks.reliability import fault_points, kills, left_alone
from benchmarks.reliability.cases import Case
from benchmarks.reliability.fault_points import Call

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not sys.platform.startswith("linux") or shutil.which("gcc") is None, reason="needs gcc"
    ),
]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shared")
    left_alone.make(folder, stages=("teacher",))
    return folder


def case_at(shared: Path, call: str, path_end: str) -> Case:
    """Return the case whose place is the first of such a call."""
    places = list(fault_points.places(left_alone.load(shared).calls))
    fits = [x for x in places if x.name == call and x.path.endswith(path_end)]
    for case in kills.KILLS.cases(0):
        is_at_a_call = case.what.endswith("a call")
        if is_at_a_call and places[kills.place_number(case.number, len(places))] in fits:
            return case
    raise AssertionError(fits)


def test_a_kill_between_the_writes_and_the_rename_of_a_checkpoint(
    shared: Path, tmp_path: Path
) -> None:
    case = case_at(shared, "rename", "checkpoint/state")
    outcome = kills.KILLS.play(case, tmp_path, shared)
    assert not outcome.fault
    assert outcome.remark.startswith("rename work/teacher/KEY/checkpoint/state")


def test_all_cases_together_go_over_all_places() -> None:
    numbers = [case.number for case in kills.KILLS.cases(0) if case.what.endswith("a call")]
    assert len(numbers) == 150
    assert [kills.place_number(number, 150) for number in numbers] == list(range(150))
    assert len({kills.place_number(number, 240) for number in numbers}) == 150
    assert {kills.place_number(number, 7) for number in numbers} == set(range(7))


def test_a_call_reads_as_a_remark_without_its_key() -> None:
    assert str(Call("open", "work/build/0123456789abcdef/out/a")) == "open work/build/KEY/out/a"
