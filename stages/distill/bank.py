"""What distill leaves of its synthetic images: a bank and a picture, or how to draw them again.

Both are drawn from the files of the generators, so that a bank that is not kept is drawn again as
it was.

Shape legend: N images, C channel, H W space.
"""

import torch
from torch import Tensor

from pipeline.stage import Context
from stages import bank_recipe, drawn_bank, image_bank
from stages.distill import sample_grid

_GRID_IMAGES = 32
_LEAST_CHECKED = 256
"""Synthetic images on which a collapse is noticed at the end, however small the bank is."""


def write(ctx: Context) -> Tensor:
    """Write the bank of the generators that are written, and return images to judge the student on.

    They are in [0, 1], of shape NCHW on the CPU, half of each generator, and more than the bank has
    where that is small. Without `bank.keep` no image is written.
    """
    options = ctx.settings.distill
    size = options.bank_size
    count = max(size, _LEAST_CHECKED)
    new, old = ctx.output("generator"), ctx.output("ema_generator")
    recipe = drawn_bank.recipe_of(
        {new: count - count // 2, old: count // 2},
        seed=ctx.settings.seed,
        batch_size=options.batch_size,
        averaged=frozenset({old} if options.ema_batch_norm == "averaged" else ()),
    )
    new_NCHW, old_NCHW = drawn_bank.draw(recipe, new.parent, "distill")
    kept = [new_NCHW[: size - size // 2], old_NCHW[: size // 2]]
    if ctx.settings.bank.keep:
        image_bank.save(ctx.output("bank"), torch.cat(kept))
        half = _GRID_IMAGES // 2
        rows = {"G": kept[0][:half], "EMA of G": kept[1][:half]}
        sample_grid.save(ctx.output("picture"), rows)
    else:
        bank_recipe.write(ctx.output("bank"), drawn_bank.completed(recipe, kept))
    return torch.cat([new_NCHW, old_NCHW])
