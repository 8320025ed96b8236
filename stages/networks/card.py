"""The card of a network: what it is and what images it takes, written into its weights file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec
from safetensors import SafetensorError, safe_open

from models.output_kind import OutputKind
from models.programs.kinds import ProgramKind
from pipeline import stored_files
from pipeline.gates.real_images import RealImages
from pipeline.preprocessing import Preprocessing
from stages.networks.program_kind import kind_of

METADATA_KEY = "madpipe.card"
_CALLED: Mapping[ProgramKind, str] = {
    "onnx": "the ONNX file",
    "pt2": "the exported program",
    "torchscript": "the TorchScript file",
}


class Card(Preprocessing, frozen=True, kw_only=True, omit_defaults=True):
    """A network's architecture, and how images become its input."""

    arch: str
    output: str | None = None
    """Which of its outputs holds the logits, by name or number; None: the only one, or the first
    that fits."""
    outputs: OutputKind = "logits"
    """What that holds."""
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    """How a network that is a program takes its images."""
    real_images: RealImages | None = None
    """Of a student: the real images that its distillation used; None: not known."""

    @property
    def called(self) -> str:
        """Return what messages call the network: its architecture, or the kind of its file."""
        kind = kind_of(self.arch)
        return _CALLED[kind] if kind else self.arch

    @property
    def num_outputs(self) -> int:
        """Return how many numbers the network itself gives for an image."""
        return 1 if self.outputs.startswith("one-") else self.num_classes


def output_text(output: str | int | None) -> str | None:
    """Return what the settings call an output as a card holds it."""
    return None if output is None else str(output)


def of_student(card: Card, arch: str, real_images: RealImages | None = None) -> Card:
    """Return the card of a student: its teacher's images and classes, and logits of its own."""
    return msgspec.structs.replace(
        card, arch=arch, output=None, outputs="logits", layout="NCHW", real_images=real_images
    )


def metadata(card: Card) -> dict[str, str]:
    """Return the card as the metadata of a weights file: one line of JSON, always the same."""
    text = msgspec.json.encode(
        {"arch": card.arch} | msgspec.to_builtins(card, order="deterministic")
    )
    return {METADATA_KEY: text.decode()}


def from_metadata(texts: Mapping[str, str]) -> Card | None:
    """Return the card among the metadata of a file, None where there is none.

    Raises:
        msgspec.DecodeError: It is no card.
    """
    text = texts.get(METADATA_KEY)
    return stored_files.decode(text, Card) if text is not None else None


def read(path: Path) -> Card | None:
    """Return the card in the header of a safetensors file.

    None where there is none, and for files of other kinds; `weights.read` says what is wrong
    with a file.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            return from_metadata(file.metadata() or {})
    except (OSError, SafetensorError, msgspec.DecodeError):
        return None
