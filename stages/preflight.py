"""What is checked before the first stage runs, so that no hours go into what cannot go on.

Light: declarations hold these checks, and torch is imported only when one has to run.
"""

from dataclasses import dataclass
from pathlib import Path

from pipeline.settings import Data
from stages.data.specs import spec_of

_FEWEST_CLASSES = 2
"""With fewer the folder is not what it should be, and its loader says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedsNetwork:
    """A network that can be built and that takes the images; the named setting asks for it."""

    setting: str
    arch: str
    code: Path | None
    data: Data | None
    """The images that the pipeline is for; None where the settings name none."""
    root: Path
    """Where the data's root lies."""

    def check(self) -> None:
        """Build the network with random weights, and run it where the classes can be counted.

        Raises:
            StageError: It cannot be built, or takes other images or classes.
        """
        if self.data is None or (classes := self._classes(self.data)) is None:
            return
        from stages.networks import factory  # noqa: PLC0415  (torch, only when there is something to run)
        from stages.networks.card import Card  # noqa: PLC0415

        spec = spec_of(self.data)
        card = Card(
            arch=self.arch,
            channels=spec.channels,
            image_size_px=spec.image_size_px,
            mean=spec.mean,
            std=spec.std,
            classes=tuple(str(number) for number in range(classes)),
        )
        factory.build(card, code=self.code, place=self.setting)

    def _classes(self, data: Data) -> int | None:
        """Return how many classes the data has, None where its folder does not show it."""
        num_classes = spec_of(data).num_classes
        if num_classes is not None or not self.root.is_dir():
            return num_classes
        from stages.data import folder  # noqa: PLC0415  (only a folder's classes are counted)

        count = len(folder.class_names(self.root))
        return count if count >= _FEWEST_CLASSES else None
