"""The table [track]: where runs are followed."""

from typing import Literal

from pipeline.settings.kinds import Name, Table, Weight

TrackerName = Literal["mlflow", "tensorboard", "trackio", "wandb"]


class Track(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Trackers that follow a run: its settings, curves, images, results and report.

    Nothing is sent to any that is not named here, and none of this changes a result.
    """

    to: tuple[TrackerName, ...] = ()
    """trackers, each by its own client: pip install 'madpipe[mlflow]' and so on"""
    project: Name = "madpipe"
    """under which they group runs; MLflow calls it an experiment"""
    run: Name | None = None
    """name of the run; absent: the student's architecture and the time"""
    folder: Name | None = None
    """where those without a server write, relative to this file; absent: the working folder"""
    wait_s: Weight = 30.0
    """how long to wait at the end for a tracker that is slower than the run"""
