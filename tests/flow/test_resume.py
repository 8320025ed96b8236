"""Runs that are killed or asked to stop go on, and end with the bytes of a run left alone."""

import shutil
import signal
from dataclasses import dataclass

import pytest

from tests.flow.conftest import MakeFolder
from tests.flow.processes import Done, Event, Folder

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
        return event["kind"] == "progress" and event.get("stage") == self.stage


@dataclass(frozen=True)
class Broken:
    """The same command three times: stopped in teacher, stopped in distill, left alone."""

    folder: Folder
    number: signal.Signals
    in_teacher: Done
    in_distill: Done
    last: Done


@pytest.fixture(scope="module")
def whole(make_folder: MakeFolder) -> Folder:
    """A folder in which the run was left alone."""
    folder = make_folder()
    done = folder.run("run", "distill", "--json")
    assert done.code == 0, done.errors
    assert done.statuses() == {"teacher": "ran", "distill": "ran"}
    return folder


@pytest.fixture(
    scope="module", params=[signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda s: s.name
)
def broken(make_folder: MakeFolder, request: pytest.FixtureRequest) -> Broken:
    """A folder in which the run was stopped twice by a signal."""
    folder, number = make_folder(), request.param
    words = ("run", "distill", "--json")
    return Broken(
        folder,
        number,
        folder.run_and_signal(*words, when=Middle("teacher"), number=number),
        folder.run_and_signal(*words, when=Middle("distill"), number=number),
        folder.run(*words),
    )


def test_a_signal_ends_the_process_with_its_exit_code(broken: Broken) -> None:
    wanted = -signal.SIGKILL if broken.number == signal.SIGKILL else 130
    assert (broken.in_teacher.code, broken.in_distill.code) == (wanted, wanted)


def test_an_interrupted_run_says_so_in_one_line_without_a_traceback(broken: Broken) -> None:
    if broken.number == signal.SIGKILL:
        assert broken.in_teacher.errors == ""
        return
    for done in (broken.in_teacher, broken.in_distill):
        assert "interrupted" in done.errors
        assert "the same command" in done.errors
        assert len(done.errors.splitlines()) == 1


def test_the_stage_that_was_stopped_is_not_stored(broken: Broken) -> None:
    assert broken.in_teacher.statuses() == {}
    assert broken.in_distill.statuses() == {"teacher": "resumed"}


def test_the_same_command_goes_on_from_where_it_was_stopped(broken: Broken) -> None:
    assert broken.last.code == 0, broken.last.errors
    assert broken.last.statuses() == {"teacher": "hit", "distill": "resumed"}
    assert min(broken.in_distill.progress("teacher")) > min(broken.in_teacher.progress("teacher"))
    assert min(broken.last.progress("distill")) > min(broken.in_distill.progress("distill"))


@pytest.mark.parametrize("stage", list(OUTPUTS))
def test_what_it_leaves_has_the_bytes_of_a_run_left_alone(
    whole: Folder, broken: Broken, stage: str
) -> None:
    for file in OUTPUTS[stage]:
        wanted = whole.output(stage, file).read_bytes()
        assert broken.folder.output(stage, file).read_bytes() == wanted, file


def test_nothing_unfinished_is_left_behind(broken: Broken) -> None:
    left = [p for p in broken.folder.path.glob(".madpipe/work/*/*") if p.is_dir()]
    assert left == []


def test_other_settings_do_not_go_on_from_a_checkpoint_that_is_not_theirs(
    make_folder: MakeFolder, whole: Folder
) -> None:
    folder = make_folder("distill.alpha=0.5")
    shutil.copytree(whole.path / ".madpipe", folder.path / ".madpipe")
    words = ("run", "distill", "--json")
    stopped = folder.run_and_signal(*words, when=Middle("distill"), number=signal.SIGTERM)
    assert stopped.code == 130
    other = Folder(folder.path, (*folder.settings, "distill.alpha=0.6"))
    done = other.run(*words)
    assert done.statuses() == {"teacher": "hit", "distill": "ran"}
    assert min(done.progress("distill")) == 1
