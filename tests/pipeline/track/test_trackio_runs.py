"""What Trackio's own storage holds of runs, and what happens without its server."""

import socket
from pathlib import Path
from typing import Any

import pytest

from pipeline.track import trackio_runs
from pipeline.track.tracker import RunInfo
from tests.pipeline.track.conftest import Follow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of Trackio, of which a process has one."""
    return tmp_path_factory.mktemp("trackio")


@pytest.fixture(autouse=True)
def _local(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(folder))
    for name in ("TRACKIO_SERVER_URL", "TRACKIO_SPACE_ID"):
        monkeypatch.delenv(name, raising=False)


def logs(project: str, run: str) -> list[dict[str, Any]]:
    from trackio.sqlite_storage import SQLiteStorage

    return SQLiteStorage.get_logs(project, run=run)


def test_its_database_holds_all_of_a_run_and_nothing_is_printed(
    follow: Follow, capsys: pytest.CaptureFixture[str]
) -> None:
    assert follow("trackio", more=("track.run=first", "track.project=whole")) == (0, ["a | note"])
    assert capsys.readouterr().out == ""
    rows = logs("whole", "first")
    loss = [
        (row["step"], row["distill/student_loss"]) for row in rows if "distill/student_loss" in row
    ]
    assert loss == [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3))]
    names = set().union(*rows)
    assert {"result/distill/params", "gate/speedup/value", "notes", "gates", "results"} <= names
    assert {"distill/live_samples", "distill/samples"} <= names
    import trackio

    (run,) = trackio.Api().runs("whole")
    assert run.config is not None
    assert run.config["distill.rounds"] == 400


def test_a_run_that_goes_on_is_the_same_and_another_of_its_name_is_not(tmp_path: Path) -> None:
    info = RunInfo("again", "a", None, tmp_path, {}, 1.0)
    first = trackio_runs.open_run(info)
    first.point("distill", "rounds", 4, {"loss": 1.0})
    first.close("interrupted")
    second = trackio_runs.open_run(info._replace(run_id=first.run_id))
    assert second.last_steps() == {"distill": 4}
    second.point("distill", "rounds", 5, {"loss": 0.5})
    second.close("done")
    assert [row["step"] for row in logs("again", "a")] == [4, 5]
    other = trackio_runs.open_run(info)
    assert (other.run_id, other.last_steps()) == ("a-2", {})
    other.close("done")


def test_a_run_that_begins_has_no_steps_of_another_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = RunInfo("twice", "a", None, tmp_path, {}, 1.0)
    first = trackio_runs.open_run(info)
    first.point("distill", "rounds", 4, {"loss": 1.0})
    first.close("done")
    # As where two jobs begin in one second, and the first logs before the second is there.
    monkeypatch.setattr(trackio_runs, "_unused_name", lambda info: info.name)
    second = trackio_runs.open_run(info)
    assert second.last_steps() == {}
    second.close("done")


def test_a_server_that_is_not_there_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    monkeypatch.setenv("TRACKIO_SERVER_URL", f"http://127.0.0.1:{port}?write_token=secret")
    with pytest.raises(OSError, match="refused"):
        trackio_runs.open_run(RunInfo("p", "a", None, tmp_path, {}, 1.0))
