"""Weights files: written as safetensors with a card, read from the formats in use.

A torch checkpoint is only ever read with `weights_only=True`, so that no file can run code.
"""

import io
import pickle
import warnings
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from models.key_names import match_key_names
from pipeline.atomic import write_bytes
from pipeline.errors import first_line
from pipeline.stage import StageError

_WRAPPERS = (
    "state_dict", "model_state_dict", "model", "net", "network", "student", "teacher", "module",
    "state_dict_ema", "ema_state_dict", "model_ema", "ema_model", "ema", "shadow",
)  # fmt: skip
"""Usual places of the state dict; what was trained comes before its moving average."""
_PREFIXES = (
    "module.", "_orig_mod.", "backbone.", "ema_model.", "ema.", "online_model.", "model.", "net.",
)  # fmt: skip
_COUNTERS = frozenset({"n_averaged", "num_updates", "decay", "initted", "step"})
"""What moving averages keep beside the weights, at the top level."""
_NAMES = 3
_TORN = (
    RuntimeError, EOFError, ValueError, LookupError, AttributeError, TypeError, OSError,
    zipfile.BadZipFile,
)  # fmt: skip
"""What torch raises for a file that is not whole."""


def save(path: Path, network: nn.Module, metadata: Mapping[str, str]) -> None:
    """Write a network's weights with at most one line of metadata.

    The same weights give the same bytes; the format does not order several lines of metadata.

    Raises:
        OSError: The file cannot be written.
    """
    tensors = {
        name: tensor.detach().to("cpu").contiguous()
        for name, tensor in network.state_dict().items()
    }
    write_bytes(path, safetensors.torch.save(tensors, dict(metadata)))


def read(path: Path, place: str) -> dict[str, Tensor]:
    """Return the tensors of a weights file, unwrapped and under their bare names.

    Wrappers' prefixes and the counters of moving averages are removed.

    Args:
        path: A safetensors file or a torch checkpoint.
        place: The setting or option that named it, for messages.

    Raises:
        StageError: No such file, or it holds no weights that can be read safely.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StageError(
            place, f"cannot be read ({path}: {error.strerror})", "correct the path"
        ) from error
    # The first bytes alone do not decide: the length that begins a safetensors file may have them.
    has_header = content[4:9] == b"\0\0\0\0{"
    is_torch = not has_header and (content[:2] == b"PK" or content[:1] == b"\x80")
    try:
        loaded = _load_torch(content, path, place) if is_torch else safetensors.torch.load(content)
    except SafetensorError as error:
        raise StageError(
            place,
            f"is truncated or no weights file ({path}: {error})",
            "give a safetensors file or a torch checkpoint",
        ) from error
    tensors = _unwrap(loaded, path, place)
    tensors = {n: t for n, t in tensors.items() if t.ndim or n not in _COUNTERS} or tensors
    # Two networks in one state dict: what was trained, and its moving average.
    trained = {n: t for n, t in tensors.items() if n.startswith("online_model.")}
    if trained and all(n in trained or n.startswith("ema_model.") for n in tensors):
        tensors = trained
    prefix = _prefix(tensors)
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}


def fill(network: nn.Module, tensors: Mapping[str, Tensor], *, arch: str, place: str) -> None:
    """Load `tensors` into `network`, all of them and no others.

    Names may be in another repository's spelling, as `models.key_names` knows it.

    Raises:
        StageError: They belong to another architecture or class count; says what differs.
    """
    own = network.state_dict()
    # Prefixes that `read` removed may be the network's own.
    prefix = _prefix(own)
    if not all(name.startswith(prefix) for name in tensors):
        tensors = {prefix + name: tensor for name, tensor in tensors.items()}
    tensors = match_key_names(tensors, own.keys())
    optional = {name for name in own if name.endswith("num_batches_tracked")}
    missing = sorted(own.keys() - tensors.keys() - optional)
    surplus = sorted(tensors.keys() - own.keys())
    shapes = [
        f"{name} is {tuple(tensors[name].shape)}, not {tuple(own[name].shape)}"
        for name in sorted(own.keys() & tensors.keys())
        if tensors[name].shape != own[name].shape
    ]
    if not (missing or surplus or shapes):
        network.load_state_dict(tensors, strict=False)
        return
    differs = [
        f"{len(names)} {word}: {', '.join(names[:_NAMES])}"
        for word, names in (("missing", missing), ("too many", surplus), ("of other shape", shapes))
        if names
    ]
    raise StageError(
        place,
        f"weights do not fit {arch} as the settings describe it ({'; '.join(differs)})",
        "name the architecture and the classes that the file was made with",
    )


def _load_torch(content: bytes, path: Path, place: str) -> object:
    try:
        with warnings.catch_warnings():
            # What it warns of, another pickle protocol, ends in one of the errors below.
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise StageError(
            place,
            f"holds more than weights and is not loaded, since that could run code ({path})",
            "save only the state dict: torch.save(model.state_dict(), FILE) or safetensors",
        ) from error
    except _TORN as error:
        raise StageError(
            place,
            f"is truncated or no torch checkpoint ({path}: {first_line(error)})",
            "copy the file again",
        ) from error


def _unwrap(loaded: object, path: Path, place: str) -> dict[str, Tensor]:
    """Return the state dict in `loaded`, looking into the usual wrappers."""
    content: object = type(loaded).__name__
    while isinstance(loaded, Mapping):
        # Wrappers first: beside them lie single tensors, such as the best accuracy.
        inner = next((loaded[n] for n in _WRAPPERS if isinstance(loaded.get(n), Mapping)), None)
        if inner is None:
            if tensors := {str(k): v for k, v in loaded.items() if isinstance(v, Tensor)}:
                return tensors
            content = list(loaded)[:_NAMES]
        loaded = inner
    raise StageError(
        place,
        f"holds no state dict ({path}: {content})",
        f"save the state dict, bare or under one of {', '.join(_WRAPPERS)}",
    )


def _prefix(names: Collection[str]) -> str:
    """Return the wrappers' prefixes that all of the names have, one after the other."""
    prefix = ""
    while more := next(
        (p for p in _PREFIXES if names and all(n.startswith(prefix + p) for n in names)), None
    ):
        prefix += more
    return prefix
