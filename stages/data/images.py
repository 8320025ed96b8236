"""Labelled images, and the functions that load or download them from any source.

Shape legend: N images, B batch, C channels, H W space.
"""

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.settings import Data, Settings
from pipeline.stage import StageError
from stages.data import classes as class_orders
from stages.data import headers
from stages.data.datasets import SPECS, Spec, loader_module, spec_of
from stages.data.files import ImageFiles
from stages.data.tree import some
from stages.networks.predict import OnImages, no_progress

_LIMIT_SEED = 0
_MEMORY_BYTES = 2 << 30
_NEARLY_BLACK = 16


class DatasetPart(NamedTuple):
    """The training or the held-out part of a source, as its loader returns it."""

    x: NDArray[np.uint8] | ImageFiles
    """uint8 of shape NHWC, or files."""
    y_N: NDArray[np.int64]


class LoadedSource(NamedTuple):
    """What the loader of a source returns."""

    train: DatasetPart
    held_out: DatasetPart
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()
    """What the user should know of how the files were taken."""


@dataclass(frozen=True, slots=True)
class Images:
    """Images and their labels."""

    x_NCHW: Tensor | ImageFiles
    """uint8, in memory or in files that are read when they are indexed."""
    y_N: Tensor
    """int64, below the number of classes."""
    classes: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number N of images."""
        return len(self.y_N)

    def batch(self, indices: Tensor | slice, device: torch.device) -> Tensor:
        """Return some images as float in [0, 1], channels last.

        Raises:
            StageError: They lie in files that are no images.
        """
        # Bytes are a quarter of the floats to bring there.
        x_BCHW = self.x_NCHW[indices].to(device).float() / 255.0
        return x_BCHW.contiguous(memory_format=torch.channels_last)

    def to(self, device: torch.device, on_progress: OnImages = no_progress) -> "Images":
        """Return them on a device, as bytes; of more than 2 GiB only the labels.

        `on_progress` is called with how many files are read, of how many.

        Raises:
            StageError: They lie in files that are no images.
        """
        x = self.x_NCHW
        if isinstance(x, Tensor):
            x = x[:].to(device)
        elif x.size_bytes <= _MEMORY_BYTES:
            x = x.read_all(on_progress).to(device)
        return replace(self, x_NCHW=x, y_N=self.y_N.to(device))


@dataclass(frozen=True, slots=True)
class Dataset:
    """The images of a source, split once and for all."""

    train: Images
    held_out: Images
    spec: Spec
    notes: tuple[str, ...] = ()
    """What the user should know of how the files were taken."""


def load(
    data: Data,
    root: Path | None,
    *,
    classes_file: Path | None = None,
    known_classes: Sequence[str] = (),
    choose_count: Callable[[int], int] = lambda count: count,
    on_progress: OnImages = no_progress,
) -> Dataset:
    """Load a source; files are read for what is held out, up to 2 GiB, and others when used.

    Args:
        data: The settings of the source.
        root: Its folder, None for a source without files.
        classes_file: What `data.classes` names, where that is a file.
        known_classes: The teacher's, in its order, where its file names them; used where the
            settings name none and all classes of the source are among them.
        choose_count: Takes how many held-out images there are; returns how many to keep of them.
        on_progress: Called now and then with how many files are read, of how many.

    Raises:
        StageError: Files are missing or do not fit.
    """
    spec = spec_of(data)
    loader = importlib.import_module(loader_module(data.source))
    loaded = loader.load(data, spec, root or Path())
    train, held_out, classes, notes = _in_order(loaded, data, classes_file, known_classes)
    x, y_N = held_out
    count = choose_count(min(data.held_out_limit or len(y_N), len(y_N)))
    if count < len(y_N):
        order_N = np.random.default_rng(_LIMIT_SEED).permutation(len(y_N))
        kept_N = np.sort(order_N[:count])
        kept = x.select(kept_N) if isinstance(x, ImageFiles) else x[kept_N]
        held_out = DatasetPart(kept, y_N[kept_N])
    if isinstance(held_out.x, ImageFiles):
        notes += headers.notes(held_out.x.paths, spec.channels)
    held_out_images = _images(held_out, classes, spec).to(torch.device("cpu"), on_progress)
    notes += tuple(_doubts(held_out_images))
    return Dataset(_images(train, classes, spec), held_out_images, spec, notes)


def _doubts(images: Images) -> Iterator[str]:
    """Yield what is odd of images or classes, which are taken as they are."""
    x = images.x_NCHW
    if isinstance(x, Tensor) and len(x) and (brightest := int(x.max())) <= _NEARLY_BLACK:
        yield (
            f"no pixel of the held-out images is above {brightest} of 255: where the files hold "
            "0 and 1, or 12 bits in samples of 16, scale them to 255 (or 65535)"
        )
    by_lower: dict[str, list[str]] = {}
    for name in images.classes:
        by_lower.setdefault(name.casefold().strip(), []).append(name)
    if alike := [names for names in by_lower.values() if len(names) > 1]:
        pairs = ", ".join(" and ".join(map(repr, names)) for names in alike[:3])
        yield f"classes differ in capitals or blanks alone ({pairs}); rename those that are one"


def _in_order(
    loaded: LoadedSource, data: Data, classes_file: Path | None, known_classes: Sequence[str]
) -> LoadedSource:
    """Return a source with the teacher's classes in the teacher's order, where they are known."""
    order = class_orders.of_settings(data, classes_file)
    notes = loaded.notes
    if data.classes == class_orders.NATURAL:
        order = [(name,) for name in sorted(loaded.classes, key=class_orders.natural_key)]
    elif order is None and known_classes:
        order = _known_order(loaded.classes, known_classes)
        if order is None:
            here = f"data.root ({some(loaded.classes)}), whose order is taken"
            other = f"the teacher's file names other classes ({some(known_classes)})"
            notes += (f"{other} than {here}; data.classes says another",)
        elif loaded.classes != tuple(known_classes):
            notes += (
                "classes are in the teacher's order, not in that of their names (data.classes)",
            )
    if order is None:
        return loaded._replace(notes=notes)
    numbers_K = np.asarray(class_orders.arranged(loaded.classes, order), np.int64)
    if len(numbers_K) < len(order):
        notes += (f"data.root has {len(numbers_K)} of the teacher's {len(order)} classes",)
    train, held_out = (
        DatasetPart(part.x, numbers_K[part.y_N]) for part in (loaded.train, loaded.held_out)
    )
    return LoadedSource(train, held_out, tuple(names[-1] for names in order), notes)


def _known_order(classes: Sequence[str], known: Sequence[str]) -> list[tuple[str, ...]] | None:
    """Return the teacher's classes by their own names and those of the folders, alike but in case.

    None where a folder is none of them, or could be two.
    """
    by_name: dict[str, list[str]] = {}
    for name in classes:
        by_name.setdefault(name.casefold(), []).append(name)
    names = [class_orders.canonical(name) for name in known]
    if set(classes) <= set(names):
        return [(name,) for name in names]
    if not by_name.keys() <= {name.casefold() for name in names}:
        return None
    if any(len(same) > 1 for same in by_name.values()):
        return None
    return [(*by_name.get(name.casefold(), ()), name) for name in names]


def _images(part: DatasetPart, classes: tuple[str, ...], spec: Spec) -> Images:
    x, y_N = part
    labels_N = torch.from_numpy(y_N.astype(np.int64))
    if isinstance(x, ImageFiles):
        return Images(x, labels_N, classes)
    shape_HWC = (*spec.size_px, spec.channels)
    if x.shape[1:] != shape_HWC:
        raise StageError(
            "data",
            f"images are {x.shape[1:]}, the settings say {shape_HWC}",
            "correct data.image_size_px, or data.mean and data.std (one number a channel)",
        )
    x_NCHW = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
    return Images(x_NCHW, labels_N, classes)


def check_labels(y_N: NDArray[np.int64], num_classes: int) -> None:
    """Make sure that an accuracy over these labels means something.

    Raises:
        StageError: There are none, all are of one class, or one is no class.
    """
    if not len(y_N):
        raise StageError("data.root", "holds no held-out images (0)", "correct data.root")
    low, high = int(y_N.min()), int(y_N.max())
    if low < 0 or high >= num_classes:
        outside = low if low < 0 else high
        raise StageError(
            "data.root",
            f"a label lies outside the {num_classes} classes ({outside})",
            "validate on the data that the teacher is for",
        )
    if low == high:
        raise StageError(
            "data.root",
            f"all {len(y_N)} held-out images are of one class ({low}), which a constant answer "
            "gets right",
            "hold out images of every class",
        )


def download(settings: Settings, root: Path) -> None:
    """Let torchvision download the source of the settings into `root` and unpack it there.

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
