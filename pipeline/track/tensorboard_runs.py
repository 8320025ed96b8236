"""TensorBoard: event files by its own writer, which needs neither TensorFlow nor torch.

A run is a folder; a run that goes on writes another event file into it, as TensorBoard expects.
TensorBoard keeps no files, so a report is put beside the event files.
"""

import shutil
import struct
import time
from collections.abc import Mapping
from pathlib import Path

from tensorboard.backend.event_processing import event_file_loader
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import summary_v2
from tensorboard.plugins.text import metadata as text_metadata
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util import tensor_util

from pipeline.track.tracker import Outcome, RunInfo

_FOLDER = "tensorboard"
_PNG_SIZE = slice(16, 24)
"""Width and height of a PNG, as two big-endian numbers (W3C PNG, 11.2.1)."""


def open_run(info: RunInfo) -> "TensorBoardRun":
    """Begin a run in a folder of its own, or go on in that of `info.run_id`."""
    project = info.folder / _FOLDER / info.project
    if info.run_id:
        return TensorBoardRun(project / info.run_id)
    run = TensorBoardRun(_unused_folder(project, info.name))
    run.settings(info)
    return run


class TensorBoardRun:
    """A folder of event files."""

    def __init__(self, folder: Path) -> None:
        """Begin an event file in the folder."""
        self.run_id = folder.name
        self._folder = folder
        self._steps = _last_steps(folder)
        self._writer = EventFileWriter(str(folder))
        self._texts: dict[str, str] = {}

    def settings(self, info: RunInfo) -> None:
        """Write the settings as hyper-parameters of the run."""
        self._write(summary_v2.hparams_pb(dict(info.settings), trial_id=self.run_id))

    def last_steps(self) -> Mapping[str, int]:
        """Return the last step of each group in the files from before this one."""
        return self._steps

    def point(self, group: str, unit: str, step: int, figures: Mapping[str, float]) -> None:
        """Add a point to each curve; TensorBoard has no names for axes."""
        del unit
        self._write(_scalars(group, figures), step)

    def results(self, group: str, figures: Mapping[str, float]) -> None:
        """Write curves of one point, which the table of hyper-parameters takes as metrics."""
        self._write(_scalars(group, figures))

    def labels(self, labels: Mapping[str, str]) -> None:
        """Do nothing: the texts say the same."""

    def text(self, name: str, markdown: str) -> None:
        """Keep a text until the end: TensorBoard adds texts and replaces none."""
        self._texts[name] = markdown

    def picture(self, name: str, step: int, png: bytes) -> None:
        """Write a picture as it is."""
        width, height = struct.unpack(">II", png[_PNG_SIZE])
        image = Summary.Image(width=width, height=height, colorspace=3, encoded_image_string=png)
        self._write(Summary(value=[Summary.Value(tag=name, image=image)]), step)

    def artefact(self, path: Path) -> None:
        """Put the file beside the event files."""
        shutil.copyfile(path, self._folder / path.name)

    def flush(self) -> None:
        """Bring all to the file."""
        self._writer.flush()

    def close(self, outcome: Outcome) -> None:
        """Write the texts where the run is over, and close the file."""
        for name, markdown in self._texts.items() if outcome != "interrupted" else ():
            metadata = text_metadata.create_summary_metadata(display_name=name, description="")
            tensor = tensor_util.make_tensor_proto(markdown)
            value = Summary.Value(tag=name, metadata=metadata, tensor=tensor)
            self._write(Summary(value=[value]))
        self._writer.close()

    def _write(self, summary: Summary, step: int = 0) -> None:
        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))


def _unused_folder(project: Path, name: str) -> Path:
    """Return a folder that this call made: jobs that start in one second have the same name."""
    folder, number = project / name, 1
    while True:
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
            folder = project / f"{name}-{number}"
        else:
            return folder


def _scalars(group: str, figures: Mapping[str, float]) -> Summary:
    return Summary(
        value=[
            Summary.Value(tag=f"{group}/{name}", simple_value=figure)
            for name, figure in figures.items()
        ]
    )


def _last_steps(folder: Path) -> dict[str, int]:
    """Return the last step of each group in a folder that may not be there."""
    last: dict[str, int] = {}
    for path in folder.glob("events.out.tfevents.*"):
        for event in event_file_loader.LegacyEventFileLoader(str(path)).Load():
            for value in event.summary.value:
                if value.WhichOneof("value") == "simple_value":
                    group = value.tag.rpartition("/")[0]
                    last[group] = max(last.get(group, 0), event.step)
    return last
