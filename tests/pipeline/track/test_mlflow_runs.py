"""What MLflow's own client finds in a local store, and what happens without a server."""

import shutil
import socket
from pathlib import Path

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from pipeline.track import mlflow_runs
from pipeline.track.tracker import RunInfo
from tests.pipeline.track.conftest import Follow

# Of the database library beneath MLflow, of which it is not told.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")


def store(folder: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables, which take seconds to make."""
    folder = tmp_path_factory.mktemp("mlflow")
    store(folder).search_experiments()
    return folder / "mlflow.db"


@pytest.fixture(autouse=True)
def _local(
    empty_database: Path, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    home.mkdir()
    for folder in (tmp_path, home):
        shutil.copy(empty_database, folder)


def only_run(client: MlflowClient) -> Run:
    experiment = client.get_experiment_by_name("madpipe")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    return run


def test_a_local_store_holds_all_of_a_run(follow: Follow, home: Path) -> None:
    assert follow("mlflow", more=("track.run=first",)) == (0, ["a | note"])
    client = store(home)
    run = only_run(client)
    run_id = run.info.run_id
    assert (run.info.run_name, run.info.status) == ("first", "FINISHED")
    assert run.data.params["distill.rounds"] == "400"
    assert "track.run" not in run.data.params
    steps = [metric.step for metric in client.get_metric_history(run_id, "distill/student_loss")]
    assert steps == [1, 2, 3]
    assert run.data.metrics["result/distill/params"] == 77850
    assert run.data.tags["gate.speedup"] == "pass"
    assert run.data.tags["distill.precision"] == "fp32"
    assert r"a \| note" in run.data.tags["mlflow.note.content"]
    paths = [file.path for file in client.list_artifacts(run_id, "report")]
    assert paths == ["report/report.html", "report/report.json"]
    images = [Path(file.path).name for file in client.list_artifacts(run_id, "images")]
    assert sum(name.startswith("distill~live_samples+step+3+") for name in images) == 2


def test_a_run_that_was_interrupted_goes_on_as_the_same(tmp_path: Path) -> None:
    info = RunInfo("madpipe", "a", None, tmp_path, {"seed": 0}, 1.0)
    first = mlflow_runs.open_run(info)
    first.point("distill", "rounds", 4, {"loss": 1.0})
    first.close("interrupted")
    assert only_run(store(tmp_path)).info.status == "KILLED"
    second = mlflow_runs.open_run(info._replace(run_id=first.run_id))
    assert second.last_steps() == {"distill": 4}
    assert only_run(store(tmp_path)).info.status == "RUNNING"
    second.close("failed")
    assert only_run(store(tmp_path)).info.status == "FAILED"


def test_a_run_of_another_store_begins_anew(tmp_path: Path) -> None:
    info = RunInfo("madpipe", "a", "0" * 32, tmp_path, {}, 1.0)
    run = mlflow_runs.open_run(info)
    assert run.run_id == only_run(store(tmp_path)).info.run_id
    assert run.last_steps() == {}


def test_without_its_server_the_run_goes_on_with_one_note(
    follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:secret@127.0.0.1:{port}")
    code, notes = follow("mlflow")
    assert code == 0
    (note,) = (note for note in notes if note != "a | note")
    assert note.startswith("mlflow failed (")
    assert f"127.0.0.1:{port}" in note
    assert "secret" not in note
