"""Weights files: written as safetensors with a card, read from the formats in use."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from models.key_names import Fit, fit_names
from pipeline import declared_bytes, stored_files
from pipeline.atomic import write_bytes
from pipeline.errors import error_summary
from pipeline.stage import StageError
from stages.foreign_files import recognise
from stages.networks import state_dict, torch_file

_PREFIXES = (
    "module.", "_orig_mod.", "backbone.", "ema_model.", "ema.", "online_model.", "model.", "net.",
)  # fmt: skip
_PARAMETRIZED = ("_mask", "_orig", "_g", ".original", ".original0")
"""Ends of names in networks whose layers are themselves pruned or normalised."""
_ONNX = re.compile(rb"\x08.\x12.[A-Za-z][\w.\- ]*[\x1a:]", re.DOTALL)
"""Version and producer, with which exporters begin."""
_NAMES = 3
_SPARSE = (
    torch.sparse_coo, torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc,
)  # fmt: skip


def save(path: Path, network: nn.Module, metadata: Mapping[str, str]) -> None:
    """Write a network's weights with at most one line of metadata.

    The same weights give the same bytes; the format does not order several lines of metadata.

    Raises:
        OSError: The file cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    memory: set[int] = set()
    for name, tensor in network.state_dict().items():
        copied = tensor.detach().to("cpu").contiguous()
        # The format knows no tensors in one memory, as layers that share weights have them.
        address = copied.untyped_storage().data_ptr()
        tensors[name] = copied.clone() if address in memory else copied
        memory.add(address)
    write_bytes(path, safetensors.torch.save(tensors, dict(metadata)))


def read(path: Path, place: str) -> dict[str, Tensor]:
    """Return the tensors of a weights file, unwrapped and under their bare names.

    Wrappers' prefixes and the counters of moving averages are removed.

    Args:
        path: A safetensors file, a torch checkpoint, or the index of several of them.
        place: The setting or option that named it, for messages.

    Raises:
        StageError: No such file, or it holds no weights that can be read safely.
    """
    loaded = _loaded(path, place)
    tensors = state_dict.unwrap(loaded, path, place)
    _check_sizes(tensors, path, place)
    prefix = _prefix(tensors)
    return {
        name.removeprefix(prefix): _values(tensor, f"{path}: {name}", place)
        for name, tensor in tensors.items()
    }


def _loaded(path: Path, place: str) -> object:
    """Return what a weights file holds; see `read`."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StageError(
            place, f"cannot be read ({path}: {error.strerror})", "correct the path"
        ) from error
    if parts := _parts(content, path):
        loaded: dict[str, object] = {}
        for part in parts:
            tensors = _loaded(part, place)
            loaded |= tensors if isinstance(tensors, dict) else {}
        return loaded
    # The first bytes alone do not decide: the length that begins a safetensors file may have them.
    has_header = content[4:9] == b"\0\0\0\0{"
    is_torch = not has_header and (content[:2] == b"PK" or content[:1] == b"\x80")
    try:
        if is_torch:
            return torch_file.load(content, path, place)
        return safetensors.torch.load(content)
    except SafetensorError as error:
        if foreign := recognise(content):
            raise StageError(place, f"{foreign.what} ({path})", foreign.remedy) from error
        if _ONNX.match(content):
            wrong = f"is an ONNX file, not weights ({path})"
            remedy = f"use madpipe build --onnx {path}"
            if place == "--teacher":
                remedy = "give its weights; a run takes such a file too, as teacher.weights"
            raise StageError(place, wrong, remedy) from error
        raise StageError(
            place,
            f"is truncated or no weights file ({path}: {error})",
            "give a safetensors file or a torch checkpoint",
        ) from error


def _parts(content: bytes, path: Path) -> list[Path]:
    """Return the files that an index of weights in several files names; none for another file."""
    if content[:1] != b"{" or b"weight_map" not in content:
        return []
    try:
        names = set(stored_files.loads(content)["weight_map"].values())
    except (ValueError, LookupError, AttributeError, TypeError):
        return []
    return [path.parent / Path(str(name)).name for name in sorted(names)]


def _check_sizes(tensors: Mapping[str, Tensor], path: Path, place: str) -> None:
    """Make sure that tensors are not far larger than what the file has of their values.

    Sparse tensors, and those of which one value stands for many, can have any size.
    """
    kept = {name: tensor for name, tensor in tensors.items() if not tensor.is_meta}
    sizes = {name: tensor.numel() * tensor.element_size() for name, tensor in kept.items()}
    held = {name: _held_bytes(tensor) for name, tensor in kept.items()}
    declared = sum(size for name, size in sizes.items() if size > held[name])
    remedy = "save the state dict of dense tensors, each .contiguous()"
    declared_bytes.check(declared, sum(held.values()), path, place, remedy)


def _held_bytes(tensor: Tensor) -> int:
    """Return how many bytes of values a file has for a tensor."""
    if tensor.layout == torch.strided:
        return tensor.untyped_storage().nbytes()
    if tensor.layout not in _SPARSE:
        return tensor.numel() * tensor.element_size()
    values = tensor.coalesce() if tensor.layout == torch.sparse_coo else tensor
    return values.values().numel() * tensor.element_size()


def _values(tensor: Tensor, name: str, place: str) -> Tensor:
    """Return a tensor as a dense one; StageError where it is quantized or has no values."""
    if tensor.is_quantized:
        raise StageError(
            place,
            f"holds quantized weights ({name} is {str(tensor.dtype).removeprefix('torch.')})",
            "give the float weights from before; madpipe makes int8 engines of them itself",
        )
    if tensor.is_meta:
        raise StageError(
            place, f"holds names without values ({name} is on the meta device)", "save it again"
        )
    if name.endswith("num_batches_tracked") and tensor.numel() == 1:
        return tensor.reshape(())  # other programs write it as a list of one
    return tensor.to_dense() if tensor.layout != torch.strided else tensor


def fill(network: nn.Module, tensors: Mapping[str, Tensor], *, arch: str, place: str) -> Fit:
    """Load `tensors` into `network`, all of them; return which were taken for what.

    Names may be in another repository's spelling and under a prefix, as `models.key_names` knows
    it; beside what is under a prefix there may be other tensors, such as a loss.

    Raises:
        StageError: They belong to another architecture or class count; says what differs.
    """
    own = network.state_dict()
    if not any(name.endswith(_PARAMETRIZED) for name in own):
        tensors = state_dict.effective(tensors)
    fit = fit_names(
        {name: tuple(tensor.shape) for name, tensor in tensors.items()},
        {name: tuple(tensor.shape) for name, tensor in own.items()},
    )
    if len(fit.prefixes) > 1:
        raise StageError(
            place,
            f"holds several networks that fit {arch} (under {', '.join(fit.prefixes)})",
            "save the state dict of the one that is wanted",
        )
    matched = {fit.own_names[name]: t for name, t in tensors.items() if name in fit.own_names}
    _fill_shared(matched, own, arch, place)
    _check_fit(matched, own, arch, place)
    _load(network, matched, arch, place)
    return fit


def _load(network: nn.Module, matched: Mapping[str, Tensor], arch: str, place: str) -> None:
    """Load tensors that fit a network."""
    # Its own dictionary has the versions of its layers, without which some take a file for old.
    state = network.state_dict()
    state.update(matched)
    try:
        network.load_state_dict(state)
    except Exception as error:  # of the library's or the user's own hooks
        raise StageError(
            place,
            f"weights cannot be loaded into {arch} ({error_summary(error)})",
            "save them anew with the code that it is built by",
        ) from error


def _fill_shared(
    matched: dict[str, Tensor], own: Mapping[str, Tensor], arch: str, place: str
) -> None:
    """Give layers that share weights what the file has under one of their names."""
    names: dict[tuple[int, tuple[int, ...]], str] = {}
    for name, tensor in own.items():
        if name not in matched or tensor.is_meta or not tensor.numel():
            continue
        first = names.setdefault((tensor.data_ptr(), tuple(tensor.shape)), name)
        if first != name and not matched[first].float().equal(matched[name].float()):
            raise StageError(
                place,
                f"has two values for weights that {arch} shares ({first} and {name} differ)",
                "name the architecture that the file was made with",
            )
    for name, tensor in own.items():
        first = names.get((tensor.data_ptr(), tuple(tensor.shape)), name)
        if name not in matched and first in matched:
            matched[name] = matched[first]


def _check_fit(
    matched: Mapping[str, Tensor], own: Mapping[str, Tensor], arch: str, place: str
) -> None:
    """Raise a StageError that says what differs between a file's tensors and a network's."""
    optional = {name for name in own if name.endswith("num_batches_tracked")}
    common = sorted(own.keys() & matched.keys())
    shapes = [
        f"{name} is {tuple(matched[name].shape)}, not {tuple(own[name].shape)}"
        for name in common
        if matched[name].shape != own[name].shape
    ]
    differs = [
        f"{len(names)} {word}: {', '.join(names[:_NAMES])}"
        for word, names in (
            ("missing", sorted(own.keys() - matched.keys() - optional)),
            ("too many", sorted(matched.keys() - own.keys())),
            ("of other shape", shapes),
        )
        if names
    ]
    if differs:
        raise StageError(
            place,
            f"weights do not fit {arch} as the settings describe it ({'; '.join(differs)})",
            "name the architecture and the classes that the file was made with",
        )
    for name in common:
        is_float, wanted = matched[name].is_floating_point(), own[name].is_floating_point()
        if (wanted and not is_float) or matched[name].is_complex():
            kind = str(matched[name].dtype).removeprefix("torch.")
            raise StageError(
                place, f"weights are {kind}, not floats ({name})", "give the float weights"
            )


def _prefix(names: Collection[str]) -> str:
    """Return the wrappers' prefixes that all of the names have, one after the other."""
    prefix = ""
    while more := next(
        (p for p in _PREFIXES if names and all(n.startswith(prefix + p) for n in names)), None
    ):
        prefix += more
    return prefix
