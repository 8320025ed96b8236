"""A teacher of 224 pixels for `pixels_224.py`: torchvision's ResNet-18 on CIFAR-10, enlarged.

    python -m benchmarks.teacher_224 --cifar CIFAR --out teacher.safetensors

CIFAR has train/CLASS/* and test/CLASS/*, images of 32 pixels, which are enlarged bilinearly. It
learns in phases of growing sizes, since an epoch of 224 pixels takes as long as five of 64.

Shape legend: N images, B batch, C channel, H W space, K classes.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torchvision.models import resnet18

from models.classifier import Classifier
from stages.networks import card as cards
from stages.networks import weights
from stages.networks.card import Card

_CYCLES = ((0.1, ((64, 5.0), (112, 3.0), (224, 0.4))), (0.03, ((224, 0.8),)))
"""Of each cycle the peak rate, and its phases: image size in pixels, and epochs of it."""
_SIZES_PX = (112, 224)
"""Of which the top-1 is printed; the last is the teacher's."""
_BATCH = 128
_WEIGHT_DECAY, _WARMUP = 5e-4, 0.1
_SHIFT_PX = 4
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_LOG_EVERY = 50


def main() -> None:
    """Read the command line, train the teacher and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cifar", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    train_teacher(arguments.cifar, arguments.out)


def read(folder: Path, limit: int | None = None) -> tuple[Tensor, Tensor]:
    """Return the images of a folder of classes as uint8 of shape NCHW, and their classes.

    With a limit, the first of each class, in the order of their names.
    """
    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    files = [(file, k) for k, path in enumerate(classes) for file in sorted(path.iterdir())[:limit]]
    x_NHWC = np.stack([np.asarray(Image.open(file).convert("RGB")) for file, _ in files])
    return torch.from_numpy(x_NHWC).permute(0, 3, 1, 2), torch.tensor([k for _, k in files])


def enlarged(x_BCHW: Tensor, size_px: int) -> Tensor:
    """Return images of uint8 as floats in [0, 1], of so many pixels."""
    x_BCHW = functional.interpolate(x_BCHW.float() / 255, size=size_px, mode="bilinear")
    return x_BCHW.contiguous(memory_format=torch.channels_last)


def batches(x_NCHW: Tensor, y_N: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield random batches for ever, shifted and mirrored."""
    padded_NCHW = functional.pad(x_NCHW, [_SHIFT_PX] * 4)
    size = x_NCHW.shape[-1]
    while True:
        for places in torch.split(torch.randperm(len(x_NCHW)), _BATCH):
            if len(places) < _BATCH:
                continue
            images = []
            for place in places.tolist():
                row, column, mirror = torch.randint(2 * _SHIFT_PX + 1, (3,)).tolist()
                image_CHW = padded_NCHW[place, :, row : row + size, column : column + size]
                images.append(image_CHW.flip(2) if mirror % 2 else image_CHW)
            yield torch.stack(images), y_N[places]


def train_teacher(cifar: Path, out: Path) -> None:
    """Train the teacher, print its top-1 on test/, and write it."""
    torch.manual_seed(0)
    train = read(cifar / "train")
    network = Classifier(resnet18(num_classes=10), mean=_MEAN, std=_STD)
    network = network.to(memory_format=torch.channels_last)
    for rate, phases in _CYCLES:
        train_cycle(network, train, rate, phases)
    classes = tuple(sorted(path.name for path in (cifar / "train").iterdir()))
    card = Card(
        arch="torchvision:resnet18",
        channels=3,
        image_size_px=_SIZES_PX[-1],
        mean=_MEAN,
        std=_STD,
        classes=classes,
    )
    weights.save(out, network.backbone, cards.metadata(card))
    for size_px in _SIZES_PX:
        print(f"{size_px} px: top-1 {top1(network, *read(cifar / 'test'), size_px):.2f} %")


def train_cycle(
    network: Classifier,
    train: tuple[Tensor, Tensor],
    rate: float,
    phases: tuple[tuple[int, float], ...],
) -> None:
    """Train a network through the phases of one cycle of the learning rate."""
    network.train()
    x_NCHW, y_N = train
    epoch = len(x_NCHW) // _BATCH
    sizes = [size for size, epochs in phases for _ in range(int(epochs * epoch))]
    optimiser = torch.optim.SGD(
        network.parameters(), lr=rate, momentum=0.9, nesterov=True, weight_decay=_WEIGHT_DECAY
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, rate, total_steps=len(sizes), pct_start=_WARMUP
    )
    begin_s = time.monotonic()
    for step, (size_px, (x_BCHW, y_B)) in enumerate(zip(sizes, batches(x_NCHW, y_N), strict=False)):
        with torch.autocast("cpu", torch.bfloat16):
            logits_BK = network(enlarged(x_BCHW, size_px))
        loss = functional.cross_entropy(logits_BK.float(), y_B)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        if step % _LOG_EVERY == 0:
            passed_s = time.monotonic() - begin_s
            print(f"{step}/{len(sizes)} {size_px} px {loss:.3f} {passed_s:.0f} s", flush=True)


@torch.no_grad()
def top1(network: torch.nn.Module, x_NCHW: Tensor, y_N: Tensor, size_px: int) -> float:
    """Return in percent how often a network is right on images of so many pixels."""
    network.eval()
    right = 0
    for x_BCHW, y_B in zip(torch.split(x_NCHW, _BATCH), torch.split(y_N, _BATCH), strict=True):
        with torch.autocast("cpu", torch.bfloat16):
            right += int((network(enlarged(x_BCHW, size_px)).argmax(1) == y_B).sum())
    return 100 * right / len(y_N)


if __name__ == "__main__":
    main()
