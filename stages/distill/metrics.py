"""What happens in a window of rounds, counted on the device and read once at its end.

Shape legend: B batch, K classes.
"""

import math
from collections.abc import Mapping

import msgspec
import torch
from torch import Tensor


class Window(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The figures of some rounds; one point of each curve of a run."""

    round: int
    """Rounds played at its end."""
    student_loss: float
    generator_loss: float
    agreement: float
    """Share of the synthetic images on which student and teacher say the same."""
    class_entropy: float
    """Entropy of the teacher's decisions over ln K: 1 is balanced.

    On the generator's images, or on its EMA's where lambda0 = 0 and the student sees no others.
    """
    largest_class_share: float
    divergence_generator: float | None = None
    """JS divergence of the student's predictions across a round's generator steps, in nats."""
    divergence_ema: float | None = None
    """The same for the EMA generator."""
    student_top1: float | None = None
    """On the monitor set, where one is switched on."""


class MetricAccumulator:
    """Counts that never wait for the device until they are read."""

    def __init__(self, num_classes: int, device: torch.device) -> None:
        """Begin with nothing counted."""
        self._classes_K = torch.zeros(num_classes, dtype=torch.float64, device=device)
        # Agreements, images, student losses, student steps, generator losses, generator steps.
        self._sums_6 = torch.zeros(6, dtype=torch.float64, device=device)

    def generator_step(self, loss: Tensor) -> None:
        """Count a step of the generator."""
        self._sums_6[4] += loss
        self._sums_6[5] += 1

    def drawn(self, teacher_BK: Tensor) -> None:
        """Count the teacher's decisions on images of the generator."""
        decisions_B = teacher_BK.argmax(dim=1)
        ones_B = torch.ones_like(decisions_B, dtype=torch.float64)
        self._classes_K.scatter_add_(0, decisions_B, ones_B)

    def student_step(self, loss: Tensor, student_BK: Tensor, teacher_BK: Tensor) -> None:
        """Count a step of the student and where it says what the teacher says."""
        self._sums_6[0] += (student_BK.argmax(dim=1) == teacher_BK.argmax(dim=1)).sum()
        self._sums_6[1] += len(student_BK)
        self._sums_6[2] += loss
        self._sums_6[3] += 1

    def read(
        self, round_number: int, divergences: Mapping[str, float], student_top1: float | None
    ) -> Window:
        """Return the window and begin the next; the one place that waits for the device."""
        agreed, images, student, student_steps, generator, generator_steps = self._sums_6.tolist()
        counts = self._classes_K.tolist()
        shares = [each / max(sum(counts), 1.0) for each in counts]
        entropy = -sum(share * math.log(share) for share in shares if share > 0)
        self._sums_6.zero_()
        self._classes_K.zero_()
        return Window(
            round=round_number,
            student_loss=student / max(student_steps, 1.0),
            generator_loss=generator / max(generator_steps, 1.0),
            agreement=agreed / max(images, 1.0),
            class_entropy=entropy / math.log(len(shares)) if len(shares) > 1 else 1.0,
            largest_class_share=max(shares),
            student_top1=student_top1,
            **divergences,
        )

    def state_dict(self) -> dict[str, Tensor]:
        """Return the counts of the unfinished window."""
        return {"classes": self._classes_K, "sums": self._sums_6}

    def load_state_dict(self, saved: dict[str, Tensor]) -> None:
        """Go on with the counts that `state_dict` returned."""
        self._classes_K.copy_(saved["classes"])
        self._sums_6.copy_(saved["sums"])
