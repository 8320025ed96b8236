"""Food-101: 101 dishes, as it is published or in folders for each part."""

from pathlib import Path

from pipeline.settings import Data
from pipeline.stage import StageError
from stages.data import folder, tree
from stages.data.datasets import Spec
from stages.data.folder import Listing
from stages.data.images import LoadedSource

_ARCHIVE_FOLDER = "food-101"


def load(data: Data, spec: Spec, root: Path) -> LoadedSource:
    """Return the training and the test part, and the class names.

    Raises:
        StageError: The files are not in `root`.
    """
    if folder.held_out_folder(root) is not None:
        return folder.load_parts(data, spec, root)
    base = root if (root / "meta").is_dir() else root / _ARCHIVE_FOLDER
    for missing in ("meta/train.txt", "meta/test.txt", "images"):
        if not (base / missing).exists():
            raise folder.absent(data, root, f"{_ARCHIVE_FOLDER}/{missing}")
    classes = tree.class_folders(base / "images")
    folder.check_class_count(data, spec, classes, base / "images")
    train, test = (_read_list(base, part, classes).part(spec) for part in ("train", "test"))
    return LoadedSource(train, test, tuple(classes))


def _read_list(base: Path, part: str, classes: list[str]) -> Listing:
    """Read the published list: CLASS/NUMBER in each line."""
    labels = {name: label for label, name in enumerate(classes)}
    file = base / "meta" / f"{part}.txt"
    names = file.read_text(encoding="utf-8").split()
    for count, name in enumerate(names, start=1):
        if name.partition("/")[0] not in labels:
            raise StageError(
                f"{file}:{count}", f"names no class of images/ ({name})", "unpack food-101 again"
            )
    paths = [str(base / "images" / f"{name}.jpg") for name in names]
    return Listing(paths, [labels[name.partition("/")[0]] for name in names])
