"""The file of a run that has not ended: who goes on with it, and when it is gone."""

from pathlib import Path

from pipeline.track.resumption import Resumption, resumption

IDENTITY = {"targets": ["all"], "settings": {"seed": 0}}


def test_the_same_command_goes_on_and_another_does_not(tmp_path: Path) -> None:
    with resumption(tmp_path, IDENTITY, "first") as held:
        held.remember_run("mlflow", "r1")
        held.remember_note("a note")
        held.remember_note("a note")
    with resumption(tmp_path, IDENTITY, "second") as held:
        assert (held.name, held.run_id("mlflow"), held.notes) == ("first", "r1", ["a note"])
        assert held.run_id("wandb") is None
    with resumption(tmp_path, {**IDENTITY, "targets": ["distill"]}, "third") as held:
        assert (held.name, held.run_id("mlflow")) == ("third", None)


def test_a_run_that_ended_leaves_nothing(tmp_path: Path) -> None:
    with resumption(tmp_path, IDENTITY, "first") as held:
        held.remember_run("wandb", "r1")
        held.forget()
        held.remember_step("wandb", "distill", 3)  # by a thread that was not waited for
    assert list(tmp_path.iterdir()) == []


def test_two_processes_of_one_command_follow_runs_of_their_own(tmp_path: Path) -> None:
    with (
        resumption(tmp_path, IDENTITY, "first") as held,
        resumption(tmp_path, IDENTITY, "second") as other,
    ):
        held.remember_run("mlflow", "r1")
        assert other.run_id("mlflow") is None
        assert other.path != held.path


def test_a_damaged_file_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(b'{"name": 3')
    assert Resumption(path, "new").name == "new"
