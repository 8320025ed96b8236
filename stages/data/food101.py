"""Food-101: 101 dishes, as it is published or in folders for each part."""

from pathlib import Path

from pipeline.settings import Data
from pipeline.stage import StageError
from stages.data import folder, known, layout
from stages.data.images import Parts
from stages.data.layout import Listing
from stages.data.specs import Spec

_ARCHIVE_FOLDER = "food-101"


def load(data: Data, spec: Spec, root: Path | None) -> Parts:
    """Return the training and the test part, and the class names.

    Raises:
        StageError: The files are not in `root`.
    """
    assert root is not None
    if layout.held_out_folder(root) is not None:
        return known.from_parts(data, spec, root)
    base = root if (root / "meta").is_dir() else root / _ARCHIVE_FOLDER
    for missing in ("meta/train.txt", "meta/test.txt", "images"):
        if not (base / missing).exists():
            raise known.absent(data, root, f"{_ARCHIVE_FOLDER}/{missing}")
    classes = layout.class_folders(base / "images")
    known.check_classes(data, spec, classes, base / "images")
    train, test = (_listed(base, part, classes) for part in ("train", "test"))
    return folder.files(train, spec), folder.files(test, spec), tuple(classes)


def _listed(base: Path, part: str, classes: list[str]) -> Listing:
    """Read the published list: CLASS/NUMBER in each line."""
    numbers = {name: number for number, name in enumerate(classes)}
    file = base / "meta" / f"{part}.txt"
    names = file.read_text(encoding="utf-8").split()
    for count, name in enumerate(names, start=1):
        if name.partition("/")[0] not in numbers:
            raise StageError(
                f"{file}:{count}", f"names no class of images/ ({name})", "unpack food-101 again"
            )
    paths = [str(base / "images" / f"{name}.jpg") for name in names]
    return paths, [numbers[name.partition("/")[0]] for name in names]
