"""A picture of samples: rows of images under the name of their source."""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from pipeline.atomic import write_bytes

_COLUMNS = 16
_CELL_PX = 48
_GAP_PX = 4
_TITLE_PX = 22
_RGB = 3


def save(path: Path, rows: Mapping[str, Tensor]) -> None:
    """Write a PNG with the images, in [0, 1] and of shape NCHW, of each named source.

    Of more than three channels the first three are drawn, of two the first.
    """
    pitch = _CELL_PX + _GAP_PX
    lines = {name: -(-len(x) // _COLUMNS) for name, x in rows.items()}
    height = sum(_TITLE_PX + count * pitch for count in lines.values()) + _GAP_PX
    sheet = Image.new("RGB", (_COLUMNS * pitch + _GAP_PX, height), "white")
    draw = ImageDraw.Draw(sheet)
    top = _GAP_PX
    for name, x_NCHW in rows.items():
        draw.text((_GAP_PX, top + 4), name, fill="black")
        top += _TITLE_PX
        for number, x_CHW in enumerate(x_NCHW):
            place = (_GAP_PX + number % _COLUMNS * pitch, top + number // _COLUMNS * pitch)
            x_HWC = np.rint(x_CHW.float().cpu().permute(1, 2, 0).numpy() * 255).astype(np.uint8)
            image = Image.fromarray(x_HWC[..., :_RGB] if len(x_CHW) >= _RGB else x_HWC[..., 0])
            width, height = (round(side * _CELL_PX / max(image.size)) for side in image.size)
            cell = image.resize((max(1, width), max(1, height)), Image.Resampling.NEAREST)
            sheet.paste(cell.convert("RGB"), place)
        top += lines[name] * pitch
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG")
    write_bytes(path, buffer.getvalue())
