"""Tiny-ImageNet: 200 classes at 64 pixels, as it is published or with its validation sorted."""

from pathlib import Path

from pipeline.settings import Data
from pipeline.stage import StageError
from stages.data import folder, known, layout
from stages.data.images import Parts
from stages.data.layout import Listing
from stages.data.specs import Spec

_ARCHIVE_FOLDER = "tiny-imagenet-200"
_ANNOTATIONS = "val_annotations.txt"


def load(data: Data, spec: Spec, root: Path | None) -> Parts:
    """Return the training and the validation part, and the class names.

    Labels count the classes' WordNet numbers in order, as torchvision's ImageFolder does. The
    names are the first of words.txt where it is there.

    Raises:
        StageError: The files are not in `root`.
    """
    assert root is not None
    if (root / _ARCHIVE_FOLDER).is_dir():
        root = root / _ARCHIVE_FOLDER
    annotations = root / "val" / _ANNOTATIONS
    if annotations.is_file() and (root / "val" / "images").is_dir():
        if not (root / "train").is_dir():
            raise known.absent(data, root, "train/")
        classes = layout.class_folders(root / "train")
        train = layout.listing(root / "train", classes)
        held_out = _annotated(annotations, classes)
    elif layout.held_out_folder(root) is None:
        raise known.absent(data, root, "val/")
    else:
        train, held_out, classes = layout.parts(root)
    known.check_classes(data, spec, classes, root)
    names = _words(root / "words.txt", classes)
    return folder.files(train, spec), folder.files(held_out, spec), names


def _annotated(annotations: Path, classes: list[str]) -> Listing:
    """Read the published list: a file, its class and a box in each line, between tabs."""
    numbers = {name: number for number, name in enumerate(classes)}
    paths: list[str] = []
    labels: list[int] = []
    lines = annotations.read_text(encoding="utf-8").splitlines()
    for count, line in enumerate(lines, start=1):
        file, _, rest = line.partition("\t")
        name = rest.partition("\t")[0]
        if name not in numbers:
            raise StageError(
                f"{annotations}:{count}",
                f"names no class of the training part ({name or line})",
                "unpack tiny-imagenet-200.zip again",
            )
        paths.append(str(annotations.parent / "images" / file))
        labels.append(numbers[name])
    return paths, labels


def _words(path: Path, classes: list[str]) -> tuple[str, ...]:
    if not path.is_file():
        return tuple(classes)
    lines = path.read_text(encoding="utf-8").splitlines()
    words = {number: names for number, _, names in (line.partition("\t") for line in lines)}
    return tuple(words.get(each, each).partition(",")[0].strip() for each in classes)
