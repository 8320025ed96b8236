"""Places365-Standard: 365 scenes at 256 pixels, as it is published or in folders for each part."""

from collections.abc import Iterator
from pathlib import Path

from pipeline.settings import Data
from pipeline.stage import StageError
from pipeline.texts import whole_number
from stages.data import folder
from stages.data.datasets import Spec
from stages.data.folder import Listing
from stages.data.images import LoadedSource

_CATEGORIES = "categories_places365.txt"
_LISTS = ("places365_train_standard.txt", "places365_val.txt")
_FOLDERS = ("data_256_standard", "val_256")


def load(data: Data, spec: Spec, root: Path) -> LoadedSource:
    """Return the training and the validation part, and the class names.

    Labels are those of the published lists, which published teachers have too.

    Raises:
        StageError: The files are not in `root`.
    """
    if not (root / _FOLDERS[1]).exists() and folder.held_out_folder(root) is not None:
        return folder.load_parts(data, spec, root)
    for missing in (_CATEGORIES, _LISTS[1], _FOLDERS[1]):
        if not (root / missing).exists():
            raise folder.absent(data, root, missing)
    categories = sorted(_pairs(root / _CATEGORIES), key=lambda pair: pair[1])
    classes = [name.removeprefix("/")[2:] for name, _ in categories]
    folder.check_class_count(data, spec, classes, root)
    has_train = (root / _LISTS[0]).is_file() and (root / _FOLDERS[0]).is_dir()
    train = _read_list(root, 0, len(classes)) if has_train else Listing([], [])
    held_out = _read_list(root, 1, len(classes))
    return LoadedSource(train.part(spec), held_out.part(spec), tuple(classes))


def _read_list(root: Path, part: int, num_classes: int) -> Listing:
    pairs = list(_pairs(root / _LISTS[part]))
    worst = max((label for _, label in pairs), default=0)
    if worst >= num_classes:
        raise StageError(
            str(root / _LISTS[part]), f"names no class ({worst})", "unpack places365 again"
        )
    base = root / _FOLDERS[part]
    paths = [str(base / name.lstrip("/")) for name, _ in pairs]
    return Listing(paths, [label for _, label in pairs])


def _pairs(file: Path) -> Iterator[tuple[str, int]]:
    """Read lines of a name and a number."""
    for count, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        name, _, number = line.strip().rpartition(" ")
        label = whole_number(number)
        if not name or label is None:
            raise StageError(
                f"{file}:{count}", f"is no name with a number ({line})", "unpack places365 again"
            )
        yield name, label
