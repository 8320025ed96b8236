"""MLflow: its own server where MLFLOW_TRACKING_URI names one, else a database in the folder.

Only `MlflowClient` is used, which records what it is asked to and nothing of the machine or of the
repository. A project is an experiment; notes are the description of a run, labels its tags.
"""

import contextlib
import io
import logging
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

# Of the use of MLflow itself; read when it is imported.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.tracking import MlflowClient

from pipeline.track.tracker import Outcome, RunInfo, joined

_URI = "MLFLOW_TRACKING_URI"
_RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
_FIRST_RETRIES = "1"
_MOST_PARAMETERS = 100
"""In one request, as MLflow's server allows."""
_STATUS: Mapping[Outcome, str] = {"done": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
_KIND = {"mlflow.experimentKind": "custom_model_development"}
"""What its pages show an experiment as; they guess otherwise, and guess language models."""
_DESCRIPTION = "mlflow.note.content"


def open_run(info: RunInfo) -> "MlflowRun":
    """Begin a run, or go on with that of `info.run_id` where this store has it."""
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    uri, artefacts = os.environ.get(_URI), None
    if not uri:
        info.folder.mkdir(parents=True, exist_ok=True)
        folder = info.folder.resolve()
        uri, artefacts = f"sqlite:///{folder / 'mlflow.db'}", (folder / "mlflow-artefacts").as_uri()
    with _few_retries():
        client = MlflowClient(uri)
        if info.run_id and (steps := _resumed(client, info.run_id)) is not None:
            return MlflowRun(client, info.run_id, steps)
        experiment_id = _experiment(client, info.project, artefacts)
        run = client.create_run(experiment_id, run_name=info.name)
    parameters = [Param(name, str(value)) for name, value in info.settings.items()]
    for first in range(0, len(parameters), _MOST_PARAMETERS):
        client.log_batch(run.info.run_id, params=parameters[first : first + _MOST_PARAMETERS])
    return MlflowRun(client, run.info.run_id, {})


class MlflowRun:
    """A run on a server or in a local database."""

    def __init__(self, client: MlflowClient, run_id: str, steps: Mapping[str, int]) -> None:
        """Use a run that is there, with the last steps of its curves."""
        self.run_id = run_id
        self._client = client
        self._steps = steps
        self._texts: dict[str, str] = {}

    def last_steps(self) -> Mapping[str, int]:
        """Return the last step of each group when the run was opened."""
        return self._steps

    def point(self, group: str, unit: str, step: int, figures: Mapping[str, float]) -> None:
        """Add a point to each metric; MLflow has no names for axes."""
        del unit
        self._log(group, figures, step)

    def results(self, group: str, figures: Mapping[str, float]) -> None:
        """Record metrics of one value."""
        self._log(group, figures, 0)

    def labels(self, labels: Mapping[str, str]) -> None:
        """Record tags."""
        tags = [RunTag(name, label) for name, label in labels.items()]
        self._client.log_batch(self.run_id, tags=tags)

    def text(self, name: str, markdown: str) -> None:
        """Make the texts the run's description."""
        self._texts[name] = markdown
        self._client.set_tag(self.run_id, _DESCRIPTION, joined(self._texts))

    def picture(self, name: str, step: int, png: bytes) -> None:
        """Add an image to the grid of its name."""
        from PIL import Image  # noqa: PLC0415  (a run without pictures needs it not)

        image = Image.open(io.BytesIO(png))
        self._client.log_image(self.run_id, image, key=name, step=step, synchronous=True)

    def artefact(self, path: Path) -> None:
        """Upload the file into the folder report."""
        self._client.log_artifact(self.run_id, str(path), "report")

    def flush(self) -> None:
        """Do nothing: each request is answered before the next."""

    def close(self, outcome: Outcome) -> None:
        """Give the run its status."""
        self._client.set_terminated(self.run_id, status=_STATUS[outcome])

    def _log(self, group: str, figures: Mapping[str, float], step: int) -> None:
        now_ms = round(time.time() * 1000)
        metrics = [
            Metric(f"{group}/{name}", float(figure), now_ms, step)
            for name, figure in figures.items()
        ]
        self._client.log_batch(self.run_id, metrics=metrics)


@contextlib.contextmanager
def _few_retries() -> Iterator[None]:
    """Let a server that is not there be noticed in seconds; later its pauses are waited for."""
    if _RETRIES in os.environ:
        yield
        return
    os.environ[_RETRIES] = _FIRST_RETRIES
    try:
        yield
    finally:
        del os.environ[_RETRIES]


def _resumed(client: MlflowClient, run_id: str) -> dict[str, int] | None:
    """Return the last steps of a run that goes on, None where this store has no such run."""
    try:
        metrics = client.get_run(run_id).data.metrics
    except MlflowException as error:
        if error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            return None
        raise
    client.update_run(run_id, status="RUNNING")
    groups = {name.rpartition("/")[0]: name for name in metrics}  # all of one go in one request
    return {
        group: max(metric.step for metric in client.get_metric_history(run_id, name))
        for group, name in groups.items()
    }


def _experiment(client: MlflowClient, name: str, artefacts: str | None) -> str:
    """Return the id of an experiment, which is made where there is none."""
    if known := client.get_experiment_by_name(name):
        return str(known.experiment_id)
    try:
        return str(client.create_experiment(name, artifact_location=artefacts, tags=_KIND))
    except MlflowException:
        if known := client.get_experiment_by_name(name):  # another run was quicker
            return str(known.experiment_id)
        raise
