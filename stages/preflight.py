"""What is checked before the first stage runs, so that no hours go into what cannot go on.

Light: declarations hold these checks, and torch is imported only when one has to run.
"""

from dataclasses import dataclass
from pathlib import Path

from pipeline.settings import Data
from stages.data import classes as class_orders
from stages.data.datasets import spec_of

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
    classes: Path | None = None
    """The file that names the classes, where the settings name one."""
    teacher_weights: Path | None = None
    """The file of the teacher's weights, which may name more classes than there are folders."""

    def check(self) -> None:
        """Build the network with random weights, and run it where the classes can be counted.

        Raises:
            StageError: It cannot be built, takes other images or classes, or is a user's that
                nothing can be distilled with.
        """
        if self.data is None:
            return
        spec = spec_of(self.data)
        num_classes = spec.num_classes
        if order := class_orders.of_settings(self.data, self.classes):
            num_classes = len(order)
        elif num_classes is None and self.root.is_dir():
            from stages.data import folder  # noqa: PLC0415  (only a folder's classes are counted)
            from stages.networks import class_names  # noqa: PLC0415  (see above)

            seen = folder.seen_classes(self.data, self.root)
            known = class_names.known(self.teacher_weights) if self.teacher_weights else ()
            num_classes = len(known if set(seen) <= set(known) else seen)
        if num_classes is None or num_classes < _FEWEST_CLASSES:
            return
        from stages.networks import factory, probe  # noqa: PLC0415  (torch, see above)
        from stages.networks.card import Card  # noqa: PLC0415

        card = Card(
            arch=self.arch,
            channels=spec.channels,
            image_size_px=spec.image_size_px,
            mean=spec.mean,
            std=spec.std,
            classes=tuple(str(number) for number in range(num_classes)),
        )
        network = factory.build(card, code=self.code, place=self.setting)
        if self.code is not None:
            probe.check(network, card, self.setting, learns=self.setting == "student.arch")
