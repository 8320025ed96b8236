"""The names of a network's classes, where its weights file has them."""

from pathlib import Path

from pipeline.stage import StageError
from stages import class_lists
from stages.networks import card as cards
from stages.networks import torch_file


def known(path: Path) -> tuple[str, ...]:
    """Return the names of the classes in the order of the outputs; none where the file has none.

    From the card that madpipe writes, or from what training scripts keep in a checkpoint:
    `classes`, `class_to_idx`, `id2label` and the like. Numbers are no names, and a file that
    cannot be read has none: `weights.read` says what is wrong with it.
    """
    card = cards.read(path)
    if card is not None:
        is_numbered = card.classes == tuple(map(str, range(card.num_classes)))
        return () if is_numbered else card.classes
    try:
        content = path.read_bytes()
        if content[:2] != b"PK" and content[:1] != b"\x80":
            return ()
        loaded = torch_file.load(content, path, "teacher.weights")
    except (OSError, StageError):
        return ()
    return tuple(names[-1] for names in class_lists.inside(loaded) or ())
