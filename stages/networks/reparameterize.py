"""Networks with a form for training and a fused one for use, such as RepVGG and MobileOne.

Shape legend: B batch, C channel, H W space, K classes.
"""

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

_METHODS = ("fuse", "reparameterize", "switch_to_deploy")
"""What authors call it; `fuse` may return the module that takes its place."""
_IMAGES = 8
_TOLERANCE = 1e-3
"""Share of the spread of the logits; the sums are in another order."""


def fused(
    network: nn.Module, images_NCHW: NDArray[np.float32]
) -> tuple[nn.Module, tuple[str, ...]]:
    """Return a network, on the CPU, with its training blocks fused, and what to say of it.

    The network is returned as it is where it has none, or where fusing fails or changes its
    logits; it is itself never changed.
    """
    if not any(_method(module) for module in _inner(network)):
        return network, ()
    deployed = copy.deepcopy(network).eval()
    before = sum(1 for _ in deployed.modules())
    x_BCHW = torch.from_numpy(images_NCHW[:_IMAGES])
    try:
        names = _fuse(deployed)
        with torch.no_grad():
            logits_BK, fused_BK = network.eval()(x_BCHW), deployed(x_BCHW)
            difference = float((fused_BK - logits_BK).abs().max())
    except Exception as error:  # noqa: BLE001  (a user's network may raise anything)
        return network, (f"its training form is exported: fusing raises {type(error).__name__}",)
    spread = float((logits_BK.amax(0) - logits_BK.amin(0)).max())
    largest = float(logits_BK.abs().max())
    if difference > max(_TOLERANCE * spread, 1e-5 * largest):
        note = f"fusing changes a logit by {difference:.3g}, of a spread of {spread:.3g}"
        return network, (f"its training form is exported: {note}",)
    after = sum(1 for _ in deployed.modules())
    if after >= before:
        return network, ()
    methods = ", ".join(names)
    note = f"the training form was fused for use ({methods}; {before} modules became {after}"
    share = difference / spread if spread else 0.0
    return deployed, (f"{note}, a logit differs by {share:.1g} of the spread)",)


def _inner(network: nn.Module) -> list[nn.Module]:
    return [module for module in network.modules() if module is not network]


def _method(module: nn.Module) -> str | None:
    """Return the name of the method with which a module becomes its fused form."""
    if type(module).__module__.startswith("torch."):
        return None
    return next((name for name in _METHODS if callable(getattr(module, name, None))), None)


def _fuse(module: nn.Module) -> tuple[str, ...]:
    """Fuse a network's modules in place, the outer ones first; return the methods called."""
    called: dict[str, None] = {}
    for name, child in list(module.named_children()):
        if method := _method(child):
            result = getattr(child, method)()
            called[method] = None
            if isinstance(result, nn.Module) and result is not child:
                setattr(module, name, result)
        called |= dict.fromkeys(_fuse(getattr(module, name)))
    return tuple(called)
