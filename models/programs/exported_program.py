"""A program of torch.export as a module: any batch, with the places of its BatchNorm.

Shape legend: B batch, C channel, H W space.
"""

import io
import operator
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, fx

from models.programs import pt2_archive
from models.programs.fault import UnusableProgram
from models.programs.moment_tap import MomentTap
from pipeline import library_logs

_BATCH_NORMS = {
    "aten.batch_norm.default": (3, 4, 5),
    "aten.native_batch_norm.default": (3, 4, 5),
    "aten.cudnn_batch_norm.default": (3, 4, 5),
    "aten._native_batch_norm_legit.default": (3, 4, 5),
    "aten._native_batch_norm_legit_no_training.default": (3, 4, None),
    "aten._batch_norm_no_update.default": (3, 4, None),
}
"""Where running mean, running variance and the flag of training stand among the arguments."""
_SHAPING = {
    "aten.unsqueeze.default", "aten.view.default", "aten.reshape.default", "aten.expand.default",
    "aten._unsafe_view.default", "aten.clone.default", "aten.detach.default", "aten.alias.default",
    "aten._to_copy.default", "aten.to.dtype", "aten.squeeze.dims", "aten.lift_fresh_copy.default",
}  # fmt: skip
_OF_BATCH = {
    "aten.view.default", "aten.reshape.default", "aten._unsafe_view.default", "aten.expand.default",
}  # fmt: skip
_DIFFERENCES = ("aten.sub.Tensor", str(operator.sub))
_ROOTS = ("aten.rsqrt.default", "aten.sqrt.default")
_STEPS_TO_ROOT = 6


def load(content: bytes) -> fx.GraphModule:
    """Return the network of an archive as a graph of operators, for any batch.

    Its BatchNorm, whole or decomposed, has a `MomentTap` before it.

    Raises:
        UnusableProgram: It is unsafe, damaged, of another torch, or made in training mode.
    """
    safe = pt2_archive.checked(content)
    try:
        # The error says what torch also logs, with its trace.
        with library_logs.switched_off():
            program = torch.export.load(io.BytesIO(safe))
    except Exception as error:  # of many classes, by what this torch does not know
        raise UnusableProgram(
            f"cannot be read by torch {torch.__version__} ({type(error).__name__})",
            "export it with this torch, or give it as ONNX",
        ) from error
    (count,) = {len(program.graph_signature.user_inputs)}
    if count != 1:
        raise UnusableProgram(f"takes {count} inputs, not one of images", "export a classifier")
    network = program.module(check_guards=False)
    assert isinstance(network, fx.GraphModule)
    _free_batch(network)
    _add_taps(network)
    _free_device(network)
    network.recompile()
    return network


def input_shape(network: fx.GraphModule) -> tuple[int | None, ...]:
    """Return the sizes of the input of a program, None for those that it leaves open."""
    value = _images(network).meta["val"]
    return tuple(size if isinstance(size, int) else None for size in value.shape)


def input_dtype(network: fx.GraphModule) -> torch.dtype:
    """Return the type of the values that a program takes."""
    dtype: torch.dtype = _images(network).meta["val"].dtype
    return dtype


def _images(network: fx.GraphModule) -> fx.Node:
    nodes: list[fx.Node] = list(network.graph.nodes)
    return next(node for node in nodes if node.op == "placeholder")


def _free_batch(network: fx.GraphModule) -> None:
    """Let views that name the size of a fixed batch take any; what checks its size goes."""
    network._forward_pre_hooks.clear()  # noqa: SLF001  (torch has no other way to take them off)
    for node in list(network.graph.nodes):
        if node.op == "call_module" and str(node.target).startswith("_guards"):
            network.graph.erase_node(node)
    batch = input_shape(network)[0]
    if batch is None:
        return
    for node in network.graph.nodes:
        if str(node.target) not in _OF_BATCH or not isinstance(node.args[1], list | tuple):
            continue
        sizes = list(node.args[1])
        source = node.args[0].meta.get("val")
        is_of_batch = sizes[:1] == [batch] and source is not None and source.shape[:1] == (batch,)
        if not is_of_batch:
            continue
        if -1 in sizes:  # one size may be left open, so the other is written out
            whole = list(node.meta["val"].shape)
            sizes = [*sizes[:1], *whole[1:]]
        sizes[0] = -1
        node.args = (node.args[0], sizes, *node.args[2:])


def _free_device(network: fx.GraphModule) -> None:
    """Let the images say on which device tensors are made, in place of the one of the export."""
    images = _images(network)
    with network.graph.inserting_after(images):
        device = network.graph.call_function(getattr, (images, "device"))

    def freed(value: Any) -> Any:
        return device if isinstance(value, torch.device) else value

    for node in network.graph.nodes:
        if node.op == "call_function":
            node.args = tuple(freed(value) for value in node.args)
            node.kwargs = {name: freed(value) for name, value in node.kwargs.items()}
    if not device.users:
        network.graph.erase_node(device)


def _add_taps(network: fx.GraphModule) -> None:
    """Put a tap before every BatchNorm with running statistics."""
    places = list(_whole(network)) or list(_decomposed(network))
    for number, (node, source, mean, var) in enumerate(places):
        name = f"moment_tap{number}"
        network.add_submodule(name, MomentTap(mean, var))
        with network.graph.inserting_before(node):
            tapped = network.graph.call_module(name, (source,))
        node.replace_input_with(source, tapped)


_Place = tuple[fx.Node, fx.Node, Tensor, Tensor]
"""A node, its input of images, and the running mean and variance."""


def _whole(network: fx.GraphModule) -> Iterator[_Place]:
    """Yield the BatchNorm operators of a program."""
    for node in network.graph.nodes:
        where = _BATCH_NORMS.get(str(node.target))
        if where is None:
            continue
        mean, var = (_stored(network, _argument(node, place)) for place in where[:2])
        if where[2] is not None and _argument(node, where[2]):
            raise UnusableProgram(
                f"normalises by its batch, as in training ({node.name})",
                "export it after model.eval()",
            )
        if mean is not None and var is not None:
            yield node, node.args[0], mean, var


def _decomposed(network: fx.GraphModule) -> Iterator[_Place]:
    """Yield the differences x - mean whose result meets the root of a stored variance."""
    for node in network.graph.nodes:
        if str(node.target) not in _DIFFERENCES or not isinstance(node.args[1], fx.Node):
            continue
        mean = _stored(network, _behind(node.args[1], lambda n: str(n.target) in _SHAPING))
        if mean is None or not isinstance(node.args[0], fx.Node):
            continue
        for user in node.users:
            others = [a for a in user.args if isinstance(a, fx.Node) and a is not node]
            var = next((v for a in others if (v := _variance(network, a)) is not None), None)
            if var is not None and var.numel() == mean.numel():
                yield node, node.args[0], mean, var
                break


def _variance(network: fx.GraphModule, node: fx.Node) -> Tensor | None:
    """Return the stored tensor whose root a node holds, None where it holds none."""
    has_root = False
    for _ in range(_STEPS_TO_ROOT):
        has_root = has_root or str(node.target) in _ROOTS
        if node.op == "get_attr":
            return _stored(network, node) if has_root else None
        inputs = [a for a in node.args if isinstance(a, fx.Node)]
        if len(inputs) != 1:
            return None
        (node,) = inputs
    return None


def _behind(node: fx.Node, passes: Callable[[fx.Node], bool]) -> fx.Node:
    while passes(node) and isinstance(node.args[0], fx.Node):
        node = node.args[0]
    return node


def _argument(node: fx.Node, place: int) -> Any:
    return node.args[place] if place < len(node.args) else None


def _stored(network: fx.GraphModule, node: Any) -> Tensor | None:
    """Return the vector that a node reads from the module, None for any other node."""
    if not isinstance(node, fx.Node) or node.op != "get_attr":
        return None
    value: Any = network
    for part in str(node.target).split("."):
        value = getattr(value, part)
    return value if isinstance(value, Tensor) and value.ndim == 1 else None
