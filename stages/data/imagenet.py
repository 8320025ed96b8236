"""ImageNet (ILSVRC2012): 1,000 classes in train/WNID/ and val/WNID/, as torchvision unpacks it."""

import re
from pathlib import Path

from pipeline.settings import Data
from stages.data import known
from stages.data.images import Parts
from stages.data.specs import Spec

_WNID = re.compile(r"n\d{8}")


def load(data: Data, spec: Spec, root: Path | None) -> Parts:
    """Return the training and the validation part, and the class names.

    Labels count the WordNet numbers of the folders in order; torchvision's pre-trained networks
    have the same order. Without train/ there is only the validation part.

    Raises:
        StageError: The files are not in `root`.
    """
    assert root is not None
    train, held_out, classes = known.from_parts(data, spec, root)
    if not all(_WNID.fullmatch(each) for each in classes):
        return train, held_out, classes
    from torchvision.models import ResNet18_Weights  # noqa: PLC0415  (seconds to import)

    return train, held_out, tuple(ResNet18_Weights.IMAGENET1K_V1.meta["categories"])
