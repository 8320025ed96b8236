"""Tiny-ImageNet: 200 classes at 64 pixels, as it is published or with its validation sorted."""

from pathlib import Path

from pipeline.settings import Data
from pipeline.stage import StageError
from stages.data import folder, tree
from stages.data.datasets import Spec
from stages.data.folder import Listing
from stages.data.images import LoadedSource

_ARCHIVE_FOLDER = "tiny-imagenet-200"
_ANNOTATIONS = "val_annotations.txt"


def load(data: Data, spec: Spec, root: Path) -> LoadedSource:
    """Return the training and the validation part, and the class names.

    Labels count the classes' WordNet numbers in order, as torchvision's ImageFolder does. The
    names are the first of words.txt where it is there.

    Raises:
        StageError: The files are not in `root`.
    """
    if (root / _ARCHIVE_FOLDER).is_dir():
        root = root / _ARCHIVE_FOLDER
    annotations = root / "val" / _ANNOTATIONS
    if annotations.is_file() and (root / "val" / "images").is_dir():
        if not (root / "train").is_dir():
            raise folder.absent(data, root, "train/")
        classes = tree.class_folders(root / "train")
        train = folder.list_classes(root / "train", classes)
        held_out = _read_annotations(annotations, classes)
    else:
        train, held_out, classes, _ = folder.list_parts(data, root)
    folder.check_class_count(data, spec, classes, root)
    if (root / "words.txt").is_file():
        lines = (root / "words.txt").read_text(encoding="utf-8").splitlines()
        words = {wnid: names for wnid, _, names in (line.partition("\t") for line in lines)}
        classes = [words.get(wnid, wnid).partition(",")[0].strip() for wnid in classes]
    return LoadedSource(train.part(spec), held_out.part(spec), tuple(classes))


def _read_annotations(annotations: Path, classes: list[str]) -> Listing:
    """Read the published list: a file, its class and a box in each line, between tabs."""
    labels = {name: label for label, name in enumerate(classes)}
    listing = Listing([], [])
    lines = annotations.read_text(encoding="utf-8").splitlines()
    for count, line in enumerate(lines, start=1):
        file, _, rest = line.partition("\t")
        name = rest.partition("\t")[0]
        if name not in labels:
            raise StageError(
                f"{annotations}:{count}",
                f"names no class of the training part ({name or line})",
                "unpack tiny-imagenet-200.zip again",
            )
        listing.paths.append(str(annotations.parent / "images" / file))
        listing.labels.append(labels[name])
    return listing
