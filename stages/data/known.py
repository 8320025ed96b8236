"""What the loaders of the well-known sets share: their number of classes, and their absence."""

from pathlib import Path

from pipeline.settings import Data
from pipeline.stage import StageError
from stages.data import folder, layout
from stages.data.images import Parts
from stages.data.specs import Spec, where_of


def absent(data: Data, root: Path, missing: str) -> StageError:
    """Return the error for a set of which `missing` is not in `root`; says what to put where."""
    return StageError(
        "data.root", f"holds no {data.source} (no {missing} in {root})", where_of(data)
    )


def check_classes(data: Data, spec: Spec, classes: list[str], root: Path) -> None:
    """Make sure that there are as many classes as the set has.

    Raises:
        StageError: There are not; labels would be those of other classes.
    """
    if len(classes) != spec.num_classes:
        raise StageError(
            "data.root",
            f"has {len(classes)} classes where {data.source} has {spec.num_classes} ({root})",
            'complete it, or set data.source = "folder" and data.image_size_px for another set',
        )


def from_parts(data: Data, spec: Spec, root: Path) -> Parts:
    """Return a known set that lies in train/CLASS/ and val/CLASS/ or test/CLASS/.

    Raises:
        StageError: A part is missing or has other classes than the set.
    """
    if layout.held_out_folder(root) is None:
        raise absent(data, root, "val/")
    train, held_out, classes = layout.parts(root)
    check_classes(data, spec, classes, root)
    return folder.files(train, spec), folder.files(held_out, spec), tuple(classes)
