"""Weights files: the formats in use are read, what could do harm or does not fit is refused."""

import argparse
import copy
import json
import os
import pickle
import re
import sys
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, cast
from zipfile import ZipFile

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.nn.utils import spectral_norm as old_spectral_norm
from torch.nn.utils import weight_norm as old_weight_norm
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from models import registry
from pipeline.errors import StageError
from stages.networks import card as cards
from stages.networks import weights
from tests.stages.tiny import card, resnet8

State = dict[str, Tensor]


def _state() -> State:
    return resnet8().state_dict()


def _same(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def test_saved_weights_are_read_back_whole(tmp_path: Path) -> None:
    weights.save(tmp_path / "w.safetensors", resnet8(), cards.metadata(card()))
    assert _same(weights.read(tmp_path / "w.safetensors", "here"), _state())


def test_the_same_weights_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        weights.save(tmp_path / name, resnet8(), cards.metadata(card()))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


WRAPPERS: dict[str, Callable[[State], Any]] = {
    "bare": lambda state: state,
    "state_dict": lambda state: {"epoch": 3, "state_dict": state},
    "model": lambda state: {"model": state, "optimizer": {"lr": 0.1}},
    "nested": lambda state: {"model": {"state_dict": state}},
    "module.": lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
    "_orig_mod.": lambda state: {f"_orig_mod.{name}": tensor for name, tensor in state.items()},
    "both": lambda state: {
        "state_dict": {f"_orig_mod.module.{name}": tensor for name, tensor in state.items()}
    },
    "lightning": lambda state: {
        "state_dict": {f"model.{name}": tensor for name, tensor in state.items()}
    },
    "trained and average": lambda state: {
        **{f"online_model.{name}": tensor for name, tensor in state.items()},
        **{f"ema_model.{name}": torch.zeros_like(tensor) for name, tensor in state.items()},
        "initted": torch.tensor(data=True),
        "step": torch.tensor(3),
    },
    "under a name that nobody knows": lambda state: {"epoch": 1, "params": state},
    "beside its settings": lambda state: {"model": {"name": "x"}, "net_params": state},
    "beside what the optimiser keeps": lambda state: {
        "weights": state,
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(2, 2)}}, "by_name": {"w": state}},
    },
    "in a list": lambda state: [{"lr": 0.1}, state],
    "with counts of batches in lists": lambda state: {
        name: tensor.reshape(1) if name.endswith("num_batches_tracked") else tensor
        for name, tensor in state.items()
    },
    "with a tensor beside it": lambda state: {
        "best_acc1": torch.tensor(98.7),
        "state_dict": state,
    },
}


@pytest.mark.parametrize("name", list(WRAPPERS))
def test_a_torch_checkpoint_is_read_whatever_wraps_it(tmp_path: Path, name: str) -> None:
    torch.save(WRAPPERS[name](_state()), tmp_path / "w.pth")
    assert _same(weights.read(tmp_path / "w.pth", "here"), _state())


def test_a_network_whose_own_names_look_wrapped_is_filled(tmp_path: Path) -> None:
    class Holder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = resnet8()

    wanted = Holder()
    torch.save(wanted.state_dict(), tmp_path / "w.pth")
    filled = Holder()
    next(filled.parameters()).data.zero_()
    weights.fill(filled, weights.read(tmp_path / "w.pth", "here"), arch="x", place="here")
    assert _same(filled.state_dict(), wanted.state_dict())


def test_a_torch_checkpoint_in_the_old_format_is_read(tmp_path: Path) -> None:
    torch.save(_state(), tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    assert _same(weights.read(tmp_path / "w.pth", "here"), _state())


class Task(Enum):
    """What a user's options hold."""

    FINE = "fine"


@dataclass
class Options:
    """A user's options."""

    task: Task
    folder: Path


class AttributeDict(dict[str, float]):
    """What Lightning keeps options in."""


AttributeDict.__module__ = "pytorch_lightning.utilities.parsing"


def test_objects_beside_the_weights_are_read_as_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pytorch_lightning", "pytorch_lightning.utilities", AttributeDict.__module__):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setattr(
        sys.modules[AttributeDict.__module__], "AttributeDict", AttributeDict, raising=False
    )
    beside = {
        "task": Task.FINE,
        "options": Options(Task.FINE, Path("x")),
        "hparams": {"optimizer": partial(torch.optim.SGD, lr=0.1)},
        "seen": [deque([1]), range(3), slice(1), {1}, Ellipsis, re.compile("a")],
        "best": np.float64(93.1),
        "history": np.zeros(3),
        "args": argparse.Namespace(lr=0.1, data=Path("x")),
        "logs": defaultdict(list, a=[1]),
        "hyper_parameters": AttributeDict(lr=0.1),
        "when": datetime(2020, 1, 1, tzinfo=UTC),
    }
    for is_zip in (True, False):
        state = {"state_dict": _state(), **beside}
        torch.save(state, tmp_path / "w.pth", _use_new_zipfile_serialization=is_zip)
        assert _same(weights.read(tmp_path / "w.pth", "here"), _state())


def test_a_network_among_the_options_is_read_as_nothing(tmp_path: Path) -> None:
    torch.save({"state_dict": _state(), "hparams": {"net": resnet8(seed=1)}}, tmp_path / "w.ckpt")
    assert _same(weights.read(tmp_path / "w.ckpt", "here"), _state())


def test_pruned_and_normalised_layers_have_the_weights_that_they_compute_with() -> None:
    x_BC = torch.rand(2, 3)
    for change in (
        lambda layer: prune.l1_unstructured(layer, "weight", 0.5),  # type: ignore[no-untyped-call]
        weight_norm,
    ):
        layer = change(nn.Linear(3, 4))
        plain, same = nn.Linear(3, 4), change(nn.Linear(3, 4))
        for network in (plain, same):
            weights.fill(network, layer.state_dict(), arch="x", place="here")
            torch.testing.assert_close(network(x_BC), layer(x_BC))


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize("normalise", [old_weight_norm, spectral_norm, old_spectral_norm])
@pytest.mark.parametrize("layer", [nn.Conv2d(3, 4, 2), nn.Linear(3, 4)])
def test_normalised_layers_of_any_form_have_the_weights_that_they_compute_with(
    normalise: Callable[[nn.Module], nn.Module], layer: nn.Module
) -> None:
    shape = (2, 3, 4, 4) if isinstance(layer, nn.Conv2d) else (2, 3)
    plain, normalised = copy.deepcopy(layer), normalise(copy.deepcopy(layer))
    normalised(torch.rand(shape))
    normalised.eval()
    weights.fill(plain, normalised.state_dict(), arch="x", place="here")
    torch.testing.assert_close(plain(torch.ones(shape)), normalised(torch.ones(shape)))


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_the_length_of_all_of_a_weight_is_one_number() -> None:
    plain, normalised = nn.Linear(3, 4), old_weight_norm(nn.Linear(3, 4), dim=cast("int", None))
    weights.fill(plain, normalised.state_dict(), arch="x", place="here")
    torch.testing.assert_close(plain.weight, normalised.weight)


@pytest.mark.filterwarnings("ignore:torch.quantize:UserWarning")
def test_sparse_weights_are_read_and_those_without_values_refused(tmp_path: Path) -> None:
    state = _state()
    torch.save(state | {"fc.weight": state["fc.weight"].to_sparse()}, tmp_path / "w.pth")
    assert _same(weights.read(tmp_path / "w.pth", "here"), state)
    quantized = torch.quantize_per_tensor(state["fc.weight"], 0.1, 0, torch.qint8)
    for tensor, wrong in ((quantized, "is qint8"), (state["fc.weight"].to("meta"), "meta device")):
        torch.save(state | {"fc.weight": tensor}, tmp_path / "w.pth")
        with pytest.raises(StageError, match=wrong):
            weights.read(tmp_path / "w.pth", "here")


def test_several_state_dicts_are_named(tmp_path: Path) -> None:
    torch.save({"student": _state(), "teacher": _state()}, tmp_path / "w.pth")
    with pytest.raises(StageError, match=r"several state dicts .*student, teacher"):
        weights.read(tmp_path / "w.pth", "here")


def test_texts_of_python_2_are_read(tmp_path: Path) -> None:
    torch.save({"state_dict": _state(), "note": "MARK"}, tmp_path / "w.pth")
    path = tmp_path / "latin.pth"
    with ZipFile(tmp_path / "w.pth") as file, ZipFile(path, "w") as changed:
        for name in file.namelist():
            content = file.read(name)
            if name.endswith("data.pkl"):
                # A text as bytes of Latin-1, which is what Python 2 writes.
                content = content.replace(b"X\4\0\0\0MARK", b"U\4caf\xe9")
            changed.writestr(name, content)
    assert b"caf\xe9" in path.read_bytes()
    assert _same(weights.read(path, "here"), _state())


def test_a_torchscript_archive_is_named_as_such(tmp_path: Path) -> None:
    with ZipFile(tmp_path / "w.pt", "w") as archive:
        for name in ("w/data.pkl", "w/code/__torch__.py", "w/constants.pkl", "w/version"):
            archive.writestr(name, b"")
    with pytest.raises(StageError, match="is a TorchScript archive"):
        weights.read(tmp_path / "w.pt", "here")


def test_whole_numbers_are_not_taken_for_floats() -> None:
    state = {n: t.to(torch.int8) if t.ndim > 1 else t for n, t in _state().items()}
    with pytest.raises(StageError, match=r"weights are int8, not floats \(conv1\.weight\)"):
        weights.fill(resnet8(), state, arch="resnet8", place="here")


class Tied(nn.Module):
    """Two names of one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(2, 2)
        self.b = self.a


def test_shared_weights_are_saved_and_read_under_both_names(tmp_path: Path) -> None:
    wanted = Tied()
    weights.save(tmp_path / "w.safetensors", wanted, {})
    tensors = weights.read(tmp_path / "w.safetensors", "here")
    for names in ({"a.weight", "a.bias", "b.weight", "b.bias"}, {"a.weight", "b.bias"}):
        filled = Tied()
        some = {name: tensor for name, tensor in tensors.items() if name in names}
        weights.fill(filled, some, arch="x", place="here")
        assert _same(filled.state_dict(), wanted.state_dict())
    tensors["b.weight"] = tensors["b.weight"] + 1
    with pytest.raises(StageError, match=r"two values .*a\.weight and b\.weight differ"):
        weights.fill(Tied(), tensors, arch="x", place="here")


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("is_zip", [True, False])
def test_code_in_a_checkpoint_is_never_run(tmp_path: Path, *, is_zip: bool) -> None:
    target = tmp_path / "harm"
    state = {"state_dict": _state(), "extra": Bomb(target)}
    torch.save(state, tmp_path / "w.pth", _use_new_zipfile_serialization=is_zip)
    with pytest.raises(StageError, match="could run code"):
        weights.read(tmp_path / "w.pth", "teacher.weights")
    assert not target.exists()


def test_a_bare_pickle_is_never_run(tmp_path: Path) -> None:
    target = tmp_path / "harm"
    (tmp_path / "w.pkl").write_bytes(pickle.dumps(Bomb(target), protocol=2))
    with pytest.raises(StageError, match=r"^teacher\.weights: "):
        weights.read(tmp_path / "w.pkl", "teacher.weights")
    assert not target.exists()


def test_a_whole_pickled_module_is_refused_with_what_to_save_instead(tmp_path: Path) -> None:
    for content in (resnet8(), {"epoch": 3, "model": resnet8(), "train_args": {}}):
        torch.save(content, tmp_path / "w.pth")
        with pytest.raises(StageError, match=r"is a whole pickled network, .*torch\.save\(model"):
            weights.read(tmp_path / "w.pth", "here")


def test_a_file_of_other_objects_alone_is_refused_with_their_names(tmp_path: Path) -> None:
    torch.save({"options": Options(Task.FINE, Path("x"))}, tmp_path / "w.pth")
    with pytest.raises(StageError, match=r"holds more than weights .*test_weights\.Options"):
        weights.read(tmp_path / "w.pth", "here")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("kind", ["w.pth", "old.pth", "w.safetensors"])
def test_a_truncated_file_is_refused(tmp_path: Path, kind: str, share: float) -> None:
    path = tmp_path / kind
    if kind == "w.safetensors":
        weights.save(path, resnet8(), {})
    else:
        torch.save(_state(), path, _use_new_zipfile_serialization=kind == "w.pth")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(StageError, match=r"^teacher\.weights: .*w\.|old\."):
        weights.read(path, "teacher.weights")


@pytest.mark.parametrize("content", [b"hello, I am a text file\n" * 40, b"\x80", b"PK", b"\0" * 64])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w").write_bytes(content)
    with pytest.raises(StageError, match=r"^here: "):
        weights.read(tmp_path / "w", "here")


def test_an_onnx_file_is_named_with_the_command_for_it(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(b"\x08\x08\x12\x07pytorch\x1a\x062.15.0" + b"\xff" * 99)
    with pytest.raises(StageError, match=r"is an ONNX file, .*madpipe build --onnx"):
        weights.read(tmp_path / "w", "here")


def test_weights_in_several_files_are_read_by_their_index(tmp_path: Path) -> None:
    state, names = _state(), dict[str, str]()
    for number in range(2):
        part = {n: t for place, (n, t) in enumerate(state.items()) if place % 2 == number}
        safetensors.torch.save_file(part, tmp_path / f"model-{number}.safetensors")
        names |= dict.fromkeys(part, f"model-{number}.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": names}))
    assert _same(weights.read(index, "here"), state)
    (tmp_path / "model-1.safetensors").unlink()
    with pytest.raises(StageError, match=r"cannot be read .*model-1\.safetensors"):
        weights.read(index, "here")


def test_an_absent_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.pth", tmp_path):
        with pytest.raises(StageError, match="cannot be read"):
            weights.read(path, "here")


@pytest.mark.parametrize("content", [{"epoch": 3}, [1, 2], 7])
def test_a_checkpoint_without_a_state_dict_says_what_it_holds(
    tmp_path: Path, content: object
) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(StageError, match="holds no state dict"):
        weights.read(tmp_path / "w.pth", "here")


def test_filling_puts_every_tensor_in_place() -> None:
    network = resnet8(seed=1)
    weights.fill(network, _state(), arch="resnet8", place="here")
    assert _same(network.state_dict(), _state())


def test_counts_of_batches_may_be_missing() -> None:
    state = {name: t for name, t in _state().items() if not name.endswith("num_batches_tracked")}
    weights.fill(resnet8(seed=1), state, arch="resnet8", place="here")


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (lambda s: s.pop("fc.bias"), r"1 missing: fc\.bias"),
        (lambda s: s.update({"head.weight": torch.zeros(1)}), r"1 too many: head\.weight"),
        (lambda s: s.update({"fc.bias": torch.zeros(3)}), r"fc\.bias is \(3,\), not \(10,\)"),
    ],
)
def test_weights_that_do_not_fit_are_refused_with_what_differs(
    change: Callable[[State], object], wanted: str
) -> None:
    state, network = dict(_state()), resnet8(seed=1)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    change(state)
    with pytest.raises(StageError, match=rf"weights do not fit resnet8 .*{wanted}"):
        weights.fill(network, state, arch="resnet8", place="here")
    assert _same(network.state_dict(), before)


def test_weights_saved_and_read_by_the_safetensors_library_agree(tmp_path: Path) -> None:
    safetensors.torch.save_file(_state(), tmp_path / "w.safetensors")
    assert _same(weights.read(tmp_path / "w.safetensors", "here"), _state())


def test_a_pickle_of_a_newer_protocol_is_refused_without_a_warning(tmp_path: Path) -> None:
    target = tmp_path / "harm"
    (tmp_path / "w.pkl").write_bytes(pickle.dumps(Bomb(target), protocol=4))
    with pytest.raises(StageError, match=r"^teacher\.weights: "):
        weights.read(tmp_path / "w.pkl", "teacher.weights")
    assert not target.exists()


def test_weights_in_the_spelling_of_another_repository_are_loaded() -> None:
    network = registry.create("resnet18", in_channels=1, num_classes=3, code=None)
    tensors = {
        name.replace("shortcut", "downsample").replace("linear", "fc"): torch.ones_like(tensor)
        for name, tensor in network.state_dict().items()
    }
    weights.fill(network, tensors, arch="resnet18", place="here")
    for name in ("linear.weight", "layer2.0.shortcut.0.weight"):
        loaded = network.get_parameter(name).detach()
        assert torch.equal(loaded, torch.ones_like(loaded))


@pytest.mark.parametrize("first", [b"\x80", b"PK"])
def test_a_file_whose_header_length_begins_like_a_torch_file_is_read(
    tmp_path: Path, first: bytes
) -> None:
    length = int.from_bytes(first, "little")
    header = b'{"w":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}}'.ljust(length)
    path = tmp_path / "w.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + header + bytes(12))
    assert path.read_bytes().startswith(first)
    assert torch.equal(weights.read(path, "here")["w"], torch.zeros(3))


def _prefixed(prefix: str) -> State:
    return {prefix + name: tensor for name, tensor in _state().items()}


AVERAGED: dict[str, Callable[[], dict[str, Any]]] = {
    "ema_state_dict": lambda: {"ema_state_dict": _state(), "epoch": 3},
    "model_ema": lambda: {"model_ema": _prefixed("module.")},
    "state_dict_ema": lambda: {"state_dict_ema": _state()},
    "nested": lambda: {"state_dict": {"model": _prefixed("_orig_mod.module.")}},
    "AveragedModel": lambda: {"n_averaged": torch.tensor(5), **_prefixed("module.")},
    "ema_model": lambda: {"initted": torch.tensor(1.0), **_prefixed("ema_model.")},
    "ema.module": lambda: _prefixed("ema.module."),
    "compiled EMA": lambda: {"ema": _prefixed("module._orig_mod.")},
}


@pytest.mark.parametrize("name", list(AVERAGED))
def test_moving_averages_are_read_in_whatever_they_are_wrapped(tmp_path: Path, name: str) -> None:
    torch.save(AVERAGED[name](), tmp_path / "w.pth")
    assert _same(weights.read(tmp_path / "w.pth", "here"), _state())


def test_what_was_trained_comes_before_its_moving_average(tmp_path: Path) -> None:
    averaged = {name: tensor * 0 for name, tensor in _state().items()}
    torch.save({"model_ema": averaged, "model": _state()}, tmp_path / "w.pth")
    assert _same(weights.read(tmp_path / "w.pth", "here"), _state())


def test_layers_that_were_stored_otherwise_before_are_not_taken_for_old_ones() -> None:
    network = registry.create("torchvision:mnasnet0_5", in_channels=3, num_classes=3, code=None)
    tensors = {name: tensor + 1 for name, tensor in network.state_dict().items()}
    weights.fill(network, tensors, arch="torchvision:mnasnet0_5", place="here")
    assert _same(network.state_dict(), tensors)


def test_a_network_that_refuses_its_own_weights_is_said_in_one_line() -> None:
    class Refusing(nn.Linear):
        def _load_from_state_dict(self, *_args: Any) -> None:
            raise KeyError("old format")

    network = Refusing(2, 2)
    with pytest.raises(StageError, match=r"here: weights cannot be loaded into net.py:make \(KeyE"):
        weights.fill(network, network.state_dict(), arch="net.py:make", place="here")
