"""What is checked of unlabelled images before the first stage runs.

Light: the declaration holds this check, and images are read only where it has to run.
"""

from dataclasses import dataclass
from pathlib import Path

from pipeline.settings import Data
from stages.data.datasets import spec_of

_sound: set["NeedsImages"] = set()
"""What was checked in this process already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedsImages:
    """A folder of unlabelled images with none of the labelled ones in it."""

    folder: Path
    data: Data | None
    """The labelled images; None where the settings name none."""
    root: Path
    """Where their folder lies."""

    def check(self) -> None:
        """Look at the files' headers, and compare their bytes with those of the labelled images.

        Raises:
            StageError: The folder holds no images, broken or far too small ones, or some of the
                labelled set.
        """
        if self in _sound:
            return
        from stages.data import overlap, unlabelled  # noqa: PLC0415  (torch and Pillow)

        paths = unlabelled.listing(self.folder)
        if self.data is not None:
            unlabelled.look_at(paths, spec_of(self.data).preprocessing())
            overlap.check(self.folder, self.data, self.root)
        _sound.add(self)
