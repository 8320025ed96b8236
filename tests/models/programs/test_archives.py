"""Archives that could do more than compute are refused before anything in them runs."""

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.programs import pt2_archive, torchscript_archive
from models.programs.fault import UnusableProgram
from tests.models.programs import networks
from tests.models.programs.networks import Net

X_BCHW = torch.rand(2, 1, 8, 8)


def rewritten(content: bytes, change: Callable[[str, bytes], bytes | None]) -> bytes:
    """Return an archive whose members went through `change`; None leaves one out."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            if (changed := change(name, old.read(name))) is not None:
                new.writestr(name, changed)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def archive() -> bytes:
    return networks.pt2(networks.trained(Net()), X_BCHW)


def test_what_torch_export_writes_passes(archive: bytes) -> None:
    pt2_archive.check(archive)
    pt2_archive.check(networks.pt2(networks.trained(Net()), X_BCHW, decomposed=True))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"torch.ops.aten.relu.default", b"torch.hub.load", r"torch\.hub\.load"),
        (b"torch.ops.aten.relu.default", b"torch.serialization.os.system", r"os\.system"),
        (b"torch.ops.aten.relu.default", b"torch.ops.aten.from_file.default", "from_file"),
        (b"torch.ops.aten.relu.default", b"builtins.eval", r"builtins\.eval"),
        (b"positive=True", b"positive=__import__('os').system('true')", "expression"),
        (b"positive=True", b"positive=lambda: 0", "expression"),
        (b"positive=True", b"positive=open(1)", "expression"),
    ],
)
def test_operators_and_expressions_that_could_run_code_are_refused(
    archive: bytes, old: bytes, new: bytes, message: str
) -> None:
    changed = rewritten(archive, lambda _, content: content.replace(old, new))
    assert changed != archive
    with pytest.raises(UnusableProgram, match=f"{message}.*could run code"):
        pt2_archive.check(changed)


def test_guards_may_compare_sizes_and_nothing_else(archive: bytes) -> None:
    def with_guard(text: str) -> bytes:
        def change(name: str, content: bytes) -> bytes:
            if not name.endswith("models/model.json"):
                return content
            return json.dumps(json.loads(content) | {"guards_code": [text]}).encode()

        return rewritten(archive, change)

    pt2_archive.check(with_guard('2 <= L["x"].size()[0] and L["x"].size()[1] == 3'))
    for harm in ('open("harm", "w")', 'L["x"].__class__', "__import__('os').system('true')"):
        with pytest.raises(UnusableProgram, match="holds the guard"):
            pt2_archive.check(with_guard(harm))


class _Writes:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path(self.path).touch, ()


def test_pickled_objects_are_refused_and_never_made(archive: bytes, tmp_path: Path) -> None:
    harm = tmp_path / "harm"
    buffer = io.BytesIO()
    torch.save({"x": _Writes(str(harm))}, buffer)

    def in_inputs(name: str, content: bytes) -> bytes:
        return buffer.getvalue() if "sample_inputs" in name else content

    def in_weights(name: str, content: bytes) -> bytes:
        if name.endswith("_weights_config.json"):
            index = json.loads(content)
            index["config"]["fc.bias"]["use_pickle"] = True
            return json.dumps(index).encode()
        return pickle.dumps(_Writes(str(harm))) if name.endswith("weight_9") else content

    for change in (in_inputs, in_weights):
        with pytest.raises(UnusableProgram, match=r"pickled objects|is damaged"):
            pt2_archive.check(rewritten(archive, change))
    assert not harm.exists()


@pytest.mark.parametrize(
    "member", ["constants/custom_obj_0", "constants/opaque_obj_0", "aotinductor/model/a.so"]
)
def test_objects_and_compiled_code_are_refused(archive: bytes, member: str) -> None:
    with zipfile.ZipFile(buffer := io.BytesIO(archive), "a") as changed:
        changed.writestr(f"archive/data/{member}", b"x")
    with pytest.raises(UnusableProgram, match="objects or compiled code"):
        pt2_archive.check(buffer.getvalue())


@pytest.mark.parametrize("content", [b"PK\x03\x04 torn", b"", b"no archive"])
def test_what_is_no_archive_is_damaged(content: bytes) -> None:
    for check in (pt2_archive.check, torchscript_archive.check):
        with pytest.raises(UnusableProgram, match="is damaged"):
            check(content)


class _Saves(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        torch.save(x, "harm.bin")
        return x


class _Reads(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.from_file("secret.bin", False, 10).sum()  # noqa: FBT003


@pytest.mark.parametrize(("network", "name"), [(_Saves(), "save"), (_Reads(), "from_file")])
def test_a_script_that_reaches_files_is_refused(network: nn.Module, name: str) -> None:
    with pytest.raises(UnusableProgram, match=rf"torch\.{name}, which can reach files"):
        torchscript_archive.check(networks.torchscript(network))
    torchscript_archive.check(networks.torchscript(Net()))


def test_operators_of_other_libraries_are_refused() -> None:
    content = rewritten(
        networks.torchscript(Net()),
        lambda name, member: (
            member.replace(b"torch.relu", b"ops.quantized.relu6")
            if name.endswith(".py")
            else member
        ),
    )
    with pytest.raises(UnusableProgram, match=r"ops\.quantized\.relu6"):
        torchscript_archive.check(content)
