"""Letting torchvision download a set, where the settings ask for it."""

from pathlib import Path

from pipeline.settings import Settings
from pipeline.stage import StageError
from stages.data.specs import SPECS


def bring(settings: Settings, root: Path) -> None:
    """Download the set of the settings into `root` and unpack it there.

    Raises:
        StageError: It cannot be downloaded.
    """
    from torchvision import datasets  # noqa: PLC0415  (seconds to import; only here)

    source = settings.data.source
    try:
        root.mkdir(parents=True, exist_ok=True)
        match source:
            case "cifar10":
                datasets.CIFAR10(root, download=True)
            case "cifar100":
                datasets.CIFAR100(root, download=True)
            case "food101":
                datasets.Food101(root, download=True)
            case "places365":
                for split in ("train-standard", "val"):
                    datasets.Places365(root, split, small=True, download=True)
            case _:
                raise StageError(
                    "data.download", f"torchvision has no {source} ({source})", SPECS[source].where
                )
    except (OSError, RuntimeError) as error:
        raise StageError(
            "data.download",
            f"{source} cannot be downloaded ({type(error).__name__}: {error})",
            SPECS[source].where,
        ) from error
