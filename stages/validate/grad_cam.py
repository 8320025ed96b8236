"""Where a network looks for its answer: Grad-CAM.

Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization,
ICCV 2017: the weight of a channel is the mean gradient of the answer's logit over its map (equation
1), and the map is what the weighted channels sum up to, where that is above zero (equation 2).

The layer is the last one whose output is a map of more than one row and column: 2x2 of 8x8 digits.
In layers further from the answer, often nothing speaks for it. The layer is looked for in what
torch computes, not among modules, so that networks of functions and programs (ONNX, torch.export,
TorchScript) have one too.

Shape legend: B batch, C channel, H W space, K classes.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from pipeline.errors import error_summary

LARGEST_MAP = 56
"""Rows and columns of what is returned."""
_MAP = 4
_TOKENS = 3
_LAYOUT = (
    "permute",
    "transpose",
    "view",
    "reshape",
    "swap",
    "move",
    "unfold",
    "matmul",
    "mm",
    "linear",
    "einsum",
)
"""In names of operations after which the dimensions of a tensor may mean something else."""


class Looks(NamedTuple):
    """The maps of some images, or why there are none."""

    maps: Sequence[NDArray[np.uint8]] = ()
    """A map HW for each image: 0 to 255 where most speaks for the answer, all 0 where nothing."""
    absent: str | None = None
    """Completes "the network ..."."""


class _NoMap(Exception):
    """A network that has no map; its text says why."""


def looks(network: nn.Module, x_BCHW: Tensor, *, batch_size: int) -> Looks:
    """Return where a network looks for its own answer in some images.

    Its parameters and its mode stay as they are. Nothing of a network is refused: where it has no
    map, or no gradients, the reason is returned.

    Args:
        network: Returns logits BK; runs in evaluation mode.
        x_BCHW: Images in [0, 1], where the network is.
        batch_size: How many go through it at a time.
    """
    was_training = network.training
    network.eval()
    try:
        maps = [_maps(network, part_BCHW) for part_BCHW in torch.split(x_BCHW, batch_size)]
    except _NoMap as error:
        return Looks(absent=str(error))
    except Exception as error:  # noqa: BLE001  (a user's network may raise anything)
        return Looks(absent=f"has no gradients here ({error_summary(error)})")
    finally:
        network.train(was_training)
    return Looks(maps=[map_HW for part in maps for map_HW in part])


def _maps(network: nn.Module, x_BCHW: Tensor) -> NDArray[np.uint8]:
    """Return the map of each image, of shape BHW."""
    layers = _Layers(len(x_BCHW))
    with torch.enable_grad(), layers:
        logits_BK = network(x_BCHW.detach().requires_grad_())
    activation_BCHW, gradient_BCHW = _last_map(layers, logits_BK)
    weight_BC11 = gradient_BCHW.mean(dim=(2, 3), keepdim=True)
    map_B1HW = (weight_BC11 * activation_BCHW).sum(dim=1, keepdim=True).relu().float()
    if not map_B1HW.isfinite().all():
        raise _NoMap("has gradients that are not finite")
    if max(map_B1HW.shape[2:]) > LARGEST_MAP:
        height, width = (min(side, LARGEST_MAP) for side in map_B1HW.shape[2:])
        map_B1HW = functional.adaptive_avg_pool2d(map_B1HW, (height, width))
    top_B111 = map_B1HW.amax(dim=(2, 3), keepdim=True)
    share_BHW = (map_B1HW / top_B111.clamp_min(torch.finfo(torch.float32).tiny))[:, 0]
    return (share_BHW * 255).round().to(torch.uint8).cpu().numpy()


def _last_map(layers: "_Layers", logits_BK: Tensor) -> tuple[Tensor, Tensor]:
    """Return the last map that the logits depend on, and the gradient of the answers' logits."""
    if not logits_BK.requires_grad:
        raise _NoMap("computes without gradients")
    # The images do not meet in evaluation mode, so one pass serves all of them.
    score = logits_BK.gather(1, logits_BK.argmax(dim=1, keepdim=True)).sum()
    for activation_BCHW, tokens_after in layers.maps_from_the_last():
        (gradient,) = torch.autograd.grad(
            score, activation_BCHW, retain_graph=True, allow_unused=True
        )
        if gradient is not None:
            # As of a transformer, whose only map is that of its patches.
            if tokens_after > layers.map_count:
                raise _NoMap("works on tokens, which are no map, in most of its depth")
            return activation_BCHW.detach(), gradient
    raise _NoMap("has no feature map of more than one row and column")


class _Layers(TorchFunctionMode):
    """What torch computes while a network runs: its maps BCHW, and how much is of tokens.

    What a 2-d convolution returns and 2-d pooling takes is such a map by definition, and so is what
    an operation that keeps the layout makes of one, at the same height and width.
    """

    def __init__(self, batch_size: int) -> None:
        super().__init__()
        self.map_count = 0
        """Calls that returned a map."""
        self._batch_size = batch_size
        self._tokens = 0
        # Holding them keeps their ids from being used again.
        self._maps: dict[int, tuple[Tensor, int]] = {}
        """Id of a map -> itself, and the token tensors before it; in order of the last use."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run an operation and look at what it returns."""
        output = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "").strip("_").partition(".")[0]
        if "pool2d" in name and args and self._is_of_images(args[0]):
            self._keep(args[0])
        # BatchNorm of a decomposed program returns its moments as well.
        for part in output if isinstance(output, tuple | list) else (output,):
            if self._is_of_images(part) and ("conv" in name or self._keeps(name, part, args)):
                self._keep(part)
            elif isinstance(part, Tensor) and part.ndim >= _TOKENS and part.grad_fn is not None:
                self._tokens += 1
        return output

    def maps_from_the_last(self) -> Iterable[tuple[Tensor, int]]:
        """Yield each map of more than one row and column, and how many token tensors follow it."""
        for activation_BCHW, tokens_before in reversed(self._maps.values()):
            if min(activation_BCHW.shape[2:]) > 1:
                yield activation_BCHW, self._tokens - tokens_before

    def _keep(self, x_BCHW: Tensor) -> None:
        self._maps.pop(id(x_BCHW), None)
        self._maps[id(x_BCHW)] = (x_BCHW, self._tokens)
        self.map_count += 1

    def _is_of_images(self, value: object) -> bool:
        """Return whether a value is four-dimensional and depends on the images."""
        return (
            isinstance(value, Tensor)
            and value.ndim == _MAP
            and len(value) == self._batch_size
            and value.grad_fn is not None
        )

    def _keeps(self, name: str, output: Tensor, args: tuple[Any, ...]) -> bool:
        """Return whether an operation made a map of a map, at its height and width."""
        if name == "get" or any(word in name for word in _LAYOUT):
            return False
        flat = [
            part
            for arg in args
            for part in (arg if isinstance(arg, tuple | list) else (arg,))
            if isinstance(part, Tensor)
        ]
        return any(id(part) in self._maps and part.shape[2:] == output.shape[2:] for part in flat)
