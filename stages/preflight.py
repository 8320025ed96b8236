"""What is checked before the first stage runs, so that no hours go into what cannot go on.

Light: declarations hold these checks, and torch is imported only when one has to run.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from models import registry
from pipeline.atomic import scratch_folder
from pipeline.errors import StageError
from pipeline.settings import Data, Export, Teacher
from stages.data import classes as class_orders
from stages.data.datasets import spec_of
from stages.engines.base import AUTO, BACKENDS

if TYPE_CHECKING:
    from models.classifier import Classifier
    from stages.networks.card import Card

_FEWEST_CLASSES = 2
"""With fewer the folder is not what it should be, and its loader says why."""
_TRIAL_IMAGES = 4
_TRIAL_BATCH_SIZES = (1, 3)
_TRIAL = Export(max_relative_difference=0.05, min_agreement=0.0)
"""Random weights say whether a network goes through, and little of how exact it is."""
_exportable: set[tuple[str, Path | None, int, tuple[int, int], int]] = set()
"""What a trial of this process wrote already."""


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
    teacher_classes: tuple[str, ...] = ()
    """Their names, where a hub records them."""
    output: str | int | None = None
    """Which output of a teacher holds the logits, where the settings say so."""
    program: Teacher | None = None
    """The settings of a teacher whose file is a program."""
    start_weights: Path | None = None
    """The file of the weights that its training starts from."""

    def card(self) -> "Card | None":
        """Return what the network is and takes, None where the classes cannot be counted."""
        if self.data is None:
            return None
        spec = spec_of(self.data)
        num_classes = spec.num_classes
        if order := class_orders.of_settings(self.data, self.classes):
            num_classes = len(order)
        elif num_classes is None and self.root.is_dir():
            from stages.data import folder  # noqa: PLC0415  (only a folder's classes are counted)
            from stages.networks import class_names  # noqa: PLC0415  (see above)

            seen = folder.seen_classes(self.data, self.root)
            known = self.teacher_classes
            if not known and self.teacher_weights is not None:
                known = class_names.known(self.teacher_weights)
            num_classes = len(known if set(seen) <= set(known) else seen)
        if num_classes is None or num_classes < _FEWEST_CLASSES:
            return None
        from stages.networks.card import Card  # noqa: PLC0415  (torch, see above)

        return Card(
            arch=self.arch,
            **msgspec.structs.asdict(
                spec.preprocessing(tuple(str(number) for number in range(num_classes)))
            ),
        )

    def check(self) -> None:
        """Build the network with random weights, and run it where the classes can be counted.

        Raises:
            StageError: It cannot be built, takes other images or classes, is a user's that
                nothing can be distilled with, a student that cannot be exported, or the weights
                that it starts from are of another network.
        """
        card = self.card()
        if card is None:
            return
        from stages.networks import card as cards  # noqa: PLC0415  (torch, see above)
        from stages.networks import factory, outputs, probe  # noqa: PLC0415

        card = msgspec.structs.replace(card, output=cards.output_text(self.output))
        is_student = self.setting == "student.arch"
        if self.program is not None and not is_student:
            self._check_program(card)
            return
        network = factory.build(card, code=self.code, place=self.setting, is_teacher=not is_student)
        if self.code is not None:
            if not is_student:
                network.outputs, _ = outputs.recognise(network, card, self.setting)
            probe.check(network, card, self.setting, learns=is_student)
        if self.start_weights is not None and self.start_weights.is_file():
            factory.start_from(
                network,
                card,
                self.start_weights,
                code=self.code,
                place="student.weights",
                on_note=lambda _: None,  # said when training starts
            )
        if is_student:
            try_export(network, card, code=self.code, place=self.setting)

    def _check_program(self, card: "Card") -> None:
        """Load the teacher from its file, and run it on a few images."""
        from stages.teacher import program_card  # noqa: PLC0415  (torch, see above)

        path = self.teacher_weights
        if path is None or not path.is_file() or self.program is None or self.data is None:
            return
        file = program_card.read(path, self.program, self.data)
        card = program_card.with_images(file, path, self.program, self.data, card)
        program_card.restored(file, card)


def try_export(network: "Classifier", card: "Card", *, code: Path | None, place: str) -> None:
    """Export a network that is not of the registry, once in a process, to see that it can be.

    The network, on the CPU, is left as it was; so are torch's random numbers.

    Raises:
        StageError: It cannot be, or its answer for an image depends on the others of a batch.
    """
    what = (card.arch, code, card.channels, card.size_px, card.num_classes)
    if card.arch in registry.ARCHITECTURES or what in _exportable:
        return
    import copy  # noqa: PLC0415  (with torch, only where a trial is due)

    import numpy as np  # noqa: PLC0415
    import torch  # noqa: PLC0415

    from stages.export.stage import export  # noqa: PLC0415

    shape = (_TRIAL_IMAGES, card.channels, *card.size_px)
    images_NCHW = np.random.default_rng(0).random(shape, dtype=np.float32)
    with scratch_folder() as folder, torch.random.fork_rng(devices=[]):
        try:
            export(
                copy.deepcopy(network).eval(),
                card,
                folder / "trial.onnx",
                options=_TRIAL,
                opset=BACKENDS[AUTO].opset,
                images_NCHW=images_NCHW,
                student_sha256="",
                batch_sizes=_TRIAL_BATCH_SIZES,
            )
        except StageError as error:
            wrong = f"could not be exported once it is distilled: {error.wrong}"
            raise StageError(place, wrong, error.remedy) from error
    _exportable.add(what)
