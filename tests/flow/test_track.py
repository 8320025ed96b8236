"""Runs of real processes in trackers: killed and gone on with, stored, and without a server."""

import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.flow.conftest import MakeFolder
from tests.flow.processes import Event, Folder, Result, environment

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
]

TRACKED = 'track.to=["tensorboard", "mlflow"]'
WORDS = ("run", "distill", "--json")


def is_in_the_middle_of_distill(event: Event) -> bool:
    is_point = event["kind"] == "point" and event["stage"] == "distill"
    return is_point and bool(event["step"] == 15)


@pytest.fixture(scope="module")
def tracked(make_folder: MakeFolder) -> tuple[Folder, Result, Result]:
    """A run that was killed in distill, and the same command again."""
    folder = make_folder(TRACKED)
    killed = folder.run_and_signal(*WORDS, when=is_in_the_middle_of_distill, number=signal.SIGKILL)
    return folder, killed, folder.run(*WORDS)


def curves(folder: Folder) -> EventAccumulator:
    """Return the only run in TensorBoard's folder."""
    (path,) = folder.path.glob(".madpipe/tensorboard/madpipe/*")
    accumulator = EventAccumulator(str(path), size_guidance={"scalars": 0, "images": 0})
    accumulator.Reload()
    return accumulator


def store(folder: Folder) -> MlflowClient:
    return MlflowClient(f"sqlite:///{folder.path / '.madpipe' / 'mlflow.db'}")


def mlflow_run(folder: Folder) -> Run:
    """Return the only run in the local store."""
    client = store(folder)
    experiment = client.get_experiment_by_name("madpipe")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    return run


def test_a_killed_run_goes_on_in_the_same_runs(tracked: tuple[Folder, Result, Result]) -> None:
    folder, killed, last = tracked
    assert killed.code == -signal.SIGKILL
    assert (last.code, last.errors) == (0, "")
    assert last.statuses() == {"teacher": "hit", "distill": "resumed"}
    assert mlflow_run(folder).info.status == "FINISHED"
    assert not list(folder.path.glob(".madpipe/track/*.json"))


def test_no_step_is_lost_or_comes_twice(tracked: tuple[Folder, Result, Result]) -> None:
    folder, _, _ = tracked
    run, client = curves(folder), store(folder)
    run_id = mlflow_run(folder).info.run_id
    wanted: dict[str, Any] = {
        "teacher/loss": [1, 2, 3],
        "distill/student_loss": [*range(1, 41)],
        "distill/generator_loss": [*range(1, 41)],
        "result/teacher/top1": [0],
    }
    for name, steps in wanted.items():
        assert [event.step for event in run.Scalars(name)] == steps, name
        history = client.get_metric_history(run_id, name)
        assert sorted(metric.step for metric in history) == steps, name


def test_images_of_both_generators_are_live(tracked: tuple[Folder, Result, Result]) -> None:
    folder, killed, last = tracked
    steps = [image.step for image in curves(folder).Images("distill/live_samples")]
    assert (steps[0], steps[-1]) == (1, 40)
    assert [e["step"] for e in killed.events if e["kind"] == "picture"] == [1]
    assert [e["step"] for e in last.events if e["kind"] == "picture"] == [40]


def test_what_is_stored_is_followed_without_torch_and_the_server_may_be_gone(
    tracked: tuple[Folder, Result, Result], tmp_path: Path
) -> None:
    folder, _, _ = tracked
    script = (
        "import sys\nfrom pipeline.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit as exit_:\n    print('end', exit_.code, 'torch' in sys.modules)\n"
    )
    command = folder.command("run", "distill")
    command[command.index("-c") + 1] = script
    done = subprocess.run(
        [*command, "--set", f"track.folder={tmp_path}"],
        cwd=folder.path,
        env=environment() | {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines()[-1] == "end 0 False", done.stderr
    notes = [line for line in done.stdout.splitlines() if " note " in line]
    assert len(notes) == 1
    assert "mlflow failed (" in notes[0]
    assert len(list(tmp_path.glob("tensorboard/madpipe/*"))) == 1
