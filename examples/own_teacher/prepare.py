"""Stands for what you already have: trains a network and saves it the usual way.

Leaves teacher.pth, a plain torch checkpoint, and images/, labelled images for validation.
"""

from pathlib import Path

import numpy as np
import torch
from net import make
from PIL import Image
from sklearn.datasets import load_digits
from torch.nn import functional

HERE = Path(__file__).parent
EPOCHS = 25
BATCH = 64
MEAN, STD = 0.305, 0.376


def main() -> None:
    """Write the images and train the teacher."""
    digits = load_digits()
    pixels = np.rint(digits.images * 255 / 16).astype(np.uint8)
    for number, (image, label) in enumerate(zip(pixels, digits.target, strict=True)):
        folder = HERE / "images" / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{number:04}.png")

    torch.manual_seed(0)
    network = make()
    x = (torch.from_numpy(pixels)[:, None].float() / 255 - MEAN) / STD
    y = torch.from_numpy(digits.target)
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-2)
    for epoch in range(EPOCHS):
        for indices in torch.randperm(len(y)).split(BATCH):
            loss = functional.cross_entropy(network(x[indices]), y[indices])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        print(f"epoch {epoch + 1}/{EPOCHS}  loss {loss.item():.4f}")
    torch.save({"state_dict": network.state_dict(), "epoch": EPOCHS}, HERE / "teacher.pth")


if __name__ == "__main__":
    main()
