"""ImageNet (ILSVRC2012): 1,000 classes in train/WNID/ and val/WNID/, as torchvision unpacks it."""

import re
from pathlib import Path

from pipeline.settings import Data
from stages.data import folder
from stages.data.datasets import Spec
from stages.data.images import LoadedSource

_WNID = re.compile(r"n\d{8}")


def load(data: Data, spec: Spec, root: Path) -> LoadedSource:
    """Return the training and the validation part, and the class names.

    Labels count the WordNet numbers of the folders in order; torchvision's pre-trained networks
    have the same order. Without train/ there is only the validation part.

    Raises:
        StageError: The files are not in `root`.
    """
    loaded = folder.load_parts(data, spec, root)
    if data.classes or not all(_WNID.fullmatch(name) for name in loaded.classes):
        return loaded
    from torchvision.models import ResNet18_Weights  # noqa: PLC0415  (seconds to import)

    return loaded._replace(classes=tuple(ResNet18_Weights.IMAGENET1K_V1.meta["categories"]))
