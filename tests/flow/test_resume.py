"""Runs that are killed or asked to stop go on, and end with the bytes of a run left alone."""

import shutil
import signal
from dataclasses import dataclass

import pytest

from tests.flow.conftest import MakeFolder
from tests.flow.processes import TRAINING, Event, Folder, Result

pytestmark = pytest.mark.slow

OUTPUTS = {
    "teacher": ("teacher.safetensors",),
    "distill": (
        "student.safetensors",
        "generator.safetensors",
        "ema_generator.safetensors",
        "bank.npz",
    ),
}


@dataclass(frozen=True)
class Middle:
    """Fits the first progress of a stage that is neither its start nor its end."""

    stage: str

    def __call__(self, event: Event) -> bool:
        is_progress = event["kind"] == "progress" and event.get("stage") == self.stage
        return is_progress and event["unit"] in TRAINING and 0 < event["done"] < event["total"]


@dataclass(frozen=True)
class Stopped:
    """The same command three times: stopped in teacher, stopped in distill, left alone."""

    folder: Folder
    signals: tuple[signal.Signals, signal.Signals]
    in_teacher: Result
    in_distill: Result
    last: Result


@pytest.fixture(scope="module")
def whole(make_folder: MakeFolder) -> Folder:
    """A folder in which the run was left alone."""
    folder = make_folder()
    result = folder.run("run", "distill", "--json")
    assert result.code == 0, result.errors
    assert result.statuses() == {"teacher": "ran", "distill": "ran"}
    return folder


@pytest.fixture(
    scope="module",
    params=[(signal.SIGKILL, signal.SIGKILL), (signal.SIGTERM, signal.SIGINT)],
    ids=["killed", "interrupted"],
)
def stopped(make_folder: MakeFolder, request: pytest.FixtureRequest) -> Stopped:
    """A folder in which the run was stopped by a signal, first in teacher, then in distill."""
    folder, (first, second) = make_folder(), request.param
    words = ("run", "distill", "--json")
    return Stopped(
        folder,
        request.param,
        folder.run_and_signal(*words, when=Middle("teacher"), number=first),
        folder.run_and_signal(*words, when=Middle("distill"), number=second),
        folder.run(*words),
    )


def is_killed(stopped: Stopped) -> bool:
    return signal.SIGKILL in stopped.signals


def test_a_signal_ends_the_process_with_its_exit_code(stopped: Stopped) -> None:
    wanted = -signal.SIGKILL if is_killed(stopped) else 130
    assert (stopped.in_teacher.code, stopped.in_distill.code) == (wanted, wanted)


def test_an_interrupted_run_ends_with_one_line_without_a_traceback(stopped: Stopped) -> None:
    if is_killed(stopped):
        assert stopped.in_teacher.errors == ""
        return
    for result in (stopped.in_teacher, stopped.in_distill):
        assert "interrupted" in result.errors
        assert "the same command" in result.errors
        assert len(result.errors.splitlines()) == 1


def test_the_stage_that_was_stopped_is_not_stored(stopped: Stopped) -> None:
    assert stopped.in_teacher.statuses() == {}
    assert stopped.in_distill.statuses() == {"teacher": "resumed"}


def test_the_same_command_goes_on_from_where_it_was_stopped(stopped: Stopped) -> None:
    assert stopped.last.code == 0, stopped.last.errors
    assert stopped.last.statuses() == {"teacher": "hit", "distill": "resumed"}
    assert min(stopped.in_distill.progress("teacher")) > min(stopped.in_teacher.progress("teacher"))
    assert min(stopped.last.progress("distill")) > min(stopped.in_distill.progress("distill"))


@pytest.mark.parametrize("stage", list(OUTPUTS))
def test_what_it_leaves_has_the_bytes_of_a_run_left_alone(
    whole: Folder, stopped: Stopped, stage: str
) -> None:
    for file in OUTPUTS[stage]:
        wanted = whole.output(stage, file).read_bytes()
        assert stopped.folder.output(stage, file).read_bytes() == wanted, file


def test_nothing_unfinished_is_left_behind(stopped: Stopped) -> None:
    left = [p for p in stopped.folder.path.glob(".madpipe/work/*/*") if p.is_dir()]
    assert left == []


def test_other_settings_do_not_go_on_from_a_checkpoint_that_is_not_theirs(
    make_folder: MakeFolder, whole: Folder
) -> None:
    folder = make_folder("distill.alpha=0.5")
    shutil.copytree(whole.path / ".madpipe", folder.path / ".madpipe")
    words = ("run", "distill", "--json")
    interrupted = folder.run_and_signal(*words, when=Middle("distill"), number=signal.SIGTERM)
    assert interrupted.code == 130
    other = Folder(folder.path, (*folder.settings, "distill.alpha=0.6"))
    result = other.run(*words)
    assert result.statuses() == {"teacher": "hit", "distill": "ran"}
    assert min(result.progress("distill")) == 0
