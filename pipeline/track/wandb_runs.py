"""Weights & Biases: where its own login and environment say; WANDB_MODE=offline sends nothing.

Of the machine, the code and the repository nothing is sent, and no output is captured.
"""

import io
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Of the use of the client itself; read when it is imported.
os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
os.environ.setdefault("WANDB_SILENT", "true")

import wandb

from pipeline.track.tracker import Outcome, RunInfo, joined

_EXIT_CODES: Mapping[Outcome, int] = {"done": 0, "failed": 1, "interrupted": 130}
_OFFLINE = {"offline", "disabled", "dryrun"}


def open_run(info: RunInfo) -> "WandbRun":
    """Begin a run, or go on with that of `info.run_id`.

    Raises:
        RuntimeError: Nobody is logged in, and the mode is not offline; none is asked to log in.
    """
    if os.environ.get("WANDB_MODE") not in _OFFLINE and not wandb.login(prompt=False):
        message = "nobody is logged in; wandb login, or WANDB_MODE=offline"
        raise RuntimeError(message)
    folder = Path(os.environ.get("WANDB_DIR") or info.folder)
    folder.mkdir(parents=True, exist_ok=True)
    run_id = info.run_id or uuid.uuid4().hex[:8]
    settings = wandb.Settings(
        host="unnamed",
        silent=True,
        console="off",
        save_code=False,
        disable_code=True,
        disable_git=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_disable_machine_info=True,
        x_save_requirements=False,
        finish_timeout=max(1.0, info.wait_s),
    )
    run = wandb.init(
        project=info.project,
        id=run_id,
        name=info.name,
        dir=folder,
        config=dict(info.settings),
        resume="allow",
        reinit="create_new",
        settings=settings,
    )
    return WandbRun(run)


class WandbRun:
    """A run of the client, which sends from a process of its own."""

    def __init__(self, run: Any) -> None:
        """Use a run that is open."""
        self.run_id: str = run.id
        self._run = run
        self._texts: dict[str, str] = {}
        self._axes: set[str] = set()

    def last_steps(self) -> None:
        """Return nothing: offline, the client does not know what another process wrote."""

    def point(self, group: str, unit: str, step: int, figures: Mapping[str, float]) -> None:
        """Add a point to each curve of a group, whose axis is the unit of its steps."""
        axis = f"{group}/{unit}"
        if axis not in self._axes:
            self._axes.add(axis)
            self._run.define_metric(axis, hidden=True)
            self._run.define_metric(f"{group}/*", step_metric=axis)
        self._run.log({axis: step} | _named(group, figures))

    def results(self, group: str, figures: Mapping[str, float]) -> None:
        """Record figures in the summary."""
        self._run.summary.update(_named(group, figures))

    def labels(self, labels: Mapping[str, str]) -> None:
        """Record labels in the summary."""
        self._run.summary.update(dict(labels))

    def text(self, name: str, markdown: str) -> None:
        """Make the texts the run's notes."""
        self._texts[name] = markdown
        self._run.notes = joined(self._texts)

    def picture(self, name: str, step: int, png: bytes) -> None:
        """Log a picture, under the step at which it was made."""
        from PIL import Image  # noqa: PLC0415  (a run without pictures needs it not)

        image = wandb.Image(Image.open(io.BytesIO(png)), caption=f"step {step}")
        self._run.log({name: image})

    def artefact(self, path: Path) -> None:
        """Add a copy to the run's files; the client would only link to the file itself."""
        copy = shutil.copyfile(path, Path(self._run.dir) / path.name)
        self._run.save(str(copy), base_path=self._run.dir, policy="now")

    def flush(self) -> None:
        """Do nothing: its own process sends at its own pace."""

    def close(self, outcome: Outcome) -> None:
        """Finish the run; one that was interrupted can go on."""
        self._run.finish(exit_code=_EXIT_CODES[outcome])


def _named(group: str, figures: Mapping[str, float]) -> dict[str, float]:
    return {f"{group}/{name}": figure for name, figure in figures.items()}
