"""Weights & Biases offline: what is in the file of a run, and who is refused."""

import struct
from pathlib import Path
from typing import Any

import pytest
from wandb.proto import wandb_internal_pb2

from pipeline.track import wandb_runs
from pipeline.track.tracker import RunInfo
from tests.pipeline.track.conftest import Follow

# Of the log in which the client keeps records, that of LevelDB behind a header of its own.
_HEADER, _RECORD_HEADER, _BLOCK = 7, 7, 32768


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delenv("WANDB_DIR", raising=False)


def records(folder: Path) -> list[Any]:
    """Return what the client wrote into the only run of a folder."""
    (path,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    content, place, parts, content_records = path.read_bytes(), _HEADER, b"", []
    while place + _RECORD_HEADER <= len(content):
        left = _BLOCK - place % _BLOCK
        if left < _RECORD_HEADER:
            place += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, place)
        place += _RECORD_HEADER
        parts += content[place : place + length]
        place += length
        if kind in (1, 4):  # whole, or the last part of one
            record = wandb_internal_pb2.Record()  # type: ignore[attr-defined]
            record.ParseFromString(parts)
            content_records.append(record)
            parts = b""
    return content_records


def names(items: Any) -> set[str]:
    return {".".join(item.nested_key) or item.key for item in items}


def test_an_offline_run_holds_all_of_a_run_and_nothing_of_the_machine(
    follow: Follow, home: Path
) -> None:
    assert follow("wandb", more=("track.run=first",)) == (0, ["a | note"])
    content_records = records(home)
    run = next(
        record.run for record in content_records if record.WhichOneof("record_type") == "run"
    )
    assert (run.host, run.git.remote_url) == ("unnamed", "")
    assert (run.display_name, run.project) == ("first", "madpipe")
    assert "distill.rounds" in names(run.config.update)
    logged = [names(record.history.item) for record in content_records if record.history.item]
    assert sum("distill/student_loss" in step for step in logged) == 3
    assert all("distill/rounds" in step for step in logged if "distill/student_loss" in step)
    assert any("live_samples" in name for step in logged for name in step), logged
    summary = set().union(*(names(record.summary.update) for record in content_records))
    assert {"result/distill/params", "gate.speedup", "gate/speedup/value"} <= summary
    (folder,) = home.glob("wandb/offline-run-*/files")
    files = {path.name for path in folder.rglob("*") if path.suffix != ".png" and path.is_file()}
    assert files == {"report.html", "report.json"}


def test_whoever_is_not_logged_in_is_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(RuntimeError, match="nobody is logged in; wandb login, or WANDB_MODE=off"):
        wandb_runs.open_run(RunInfo("p", "a", None, tmp_path, {}, 1.0))
