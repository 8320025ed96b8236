"""Stands for the supplier: trains a network and hands it over as files without code.

Leaves teacher.onnx, teacher.pt2 and teacher.ts, and images/, labelled images for validation.
"""

import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

HERE = Path(__file__).parent
EPOCHS = 25
BATCH = 64


class Network(nn.Module):
    """Convolutions with batch norm for grey images of 8x8 pixels, normalised inside."""

    def __init__(self) -> None:
        """Build the layers."""
        super().__init__()
        layers: list[nn.Module] = []
        for before, after, stride in ((1, 48, 1), (48, 48, 1), (48, 96, 2), (96, 96, 1)):
            layers += [
                nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            ]
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(96, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits for images in [0, 1]."""
        logits: Tensor = self.head(self.features((x - 0.305) / 0.376).mean(dim=(2, 3)))
        return logits


def main() -> None:
    """Write the images, train the network and hand it over."""
    digits = load_digits()
    pixels = np.rint(digits.images * 255 / 16).astype(np.uint8)
    for number, (image, label) in enumerate(zip(pixels, digits.target, strict=True)):
        folder = HERE / "images" / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{number:04}.png")

    torch.manual_seed(0)
    network = Network()
    x = torch.from_numpy(pixels)[:, None].float() / 255
    y = torch.from_numpy(digits.target)
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-2)
    for epoch in range(EPOCHS):
        for indices in torch.randperm(len(y)).split(BATCH):
            loss = functional.cross_entropy(network(x[indices]), y[indices])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        print(f"epoch {epoch + 1}/{EPOCHS}  loss {loss.item():.4f}")
    hand_over(network.eval(), x[:2])


def hand_over(network: nn.Module, x: Tensor) -> None:
    """Write the network in each format, with a dynamic batch and BatchNorm left in it."""
    batch = {0: torch.export.Dim("batch")}
    program = torch.export.export(network, (x,), dynamic_shapes=(batch,))
    torch.export.save(program, HERE / "teacher.pt2")
    torch.onnx.export(network, (x,), HERE / "teacher.onnx", dynamic_shapes=(batch,), optimize=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is going out of use, and still handed over
        torch.jit.script(network).save(HERE / "teacher.ts")


if __name__ == "__main__":
    main()
