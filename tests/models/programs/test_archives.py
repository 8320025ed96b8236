"""Archives that could do more than compute are refused before anything in them runs."""

import io
import json
import logging
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import Tensor, nn

from models.programs import exported_program, pt2_archive, torchscript_archive
from models.programs.fault import UnusableProgram
from models.programs.program import Program, content_of
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
    pt2_archive.checked(archive)
    pt2_archive.checked(networks.pt2(networks.trained(Net()), X_BCHW, decomposed=True))


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
        pt2_archive.checked(changed)


def with_graph(archive: bytes, change: Callable[[Any], object]) -> bytes:
    """Return an archive whose graph was changed in place."""

    def changed(name: str, content: bytes) -> bytes:
        if not name.endswith("models/model.json"):
            return content
        graph = json.loads(content)
        change(graph)
        return json.dumps(graph).encode()

    return rewritten(archive, changed)


def signature(graph: Any) -> Any:
    return graph["graph_module"]["module_call_graph"][0]["signature"]


def test_guards_are_left_out_since_torch_makes_code_of_them(archive: bytes) -> None:
    harm = with_graph(archive, lambda graph: graph.update(guards_code=["__import__('os')"]))
    assert b"__import__" not in pt2_archive.checked(harm)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"x"', '"x=open(1)"'),
        ('"conv2d"', '"a; open(1); b"'),
        ('"fc.bias"', '"fc\\") and open(1) or (\\""'),
        ('"fc.bias"', '"__class__.x"'),
        ("torch.ops.aten.relu.default", "_operator.attrgetter"),
    ],
)
def test_names_that_would_be_code_are_refused(archive: bytes, old: str, new: str) -> None:
    def change(graph: Any) -> None:
        text = json.dumps(graph)
        assert old in text
        graph.update(json.loads(text.replace(old, new)))

    with pytest.raises(UnusableProgram, match="could run code"):
        pt2_archive.checked(with_graph(archive, change))


@pytest.mark.parametrize(
    ("kind", "context"),
    [
        ("collections.defaultdict", {"default_factory_module": "this"}),
        ("builtins.dict", '[{"__enum__": true, "fqn": "this:X", "name": "a"}]'),
        ("builtins.dict", '[{"\\u005f_enum__": true}]'),
        ("builtins.dict", '["x=open(1)"]'),
    ],
)
def test_structures_that_import_modules_are_refused(
    archive: bytes, kind: str, context: object
) -> None:
    spec = json.dumps([1, {"type": kind, "context": context, "children_spec": []}])
    harm = with_graph(archive, lambda graph: signature(graph).update(out_spec=spec))
    with pytest.raises(UnusableProgram, match=r"the structure.*could run code"):
        pt2_archive.checked(harm)


def test_sizes_in_lines_are_refused_since_sympy_joins_them(archive: bytes) -> None:
    def change(graph: Any) -> None:
        (size, *_) = graph["graph_module"]["graph"]["sym_int_values"].values()
        size["as_expr"]["expr_str"] = "floor('\\\nx5f_import__\\\nx28')"

    with pytest.raises(UnusableProgram, match="the expression"):
        pt2_archive.checked(with_graph(archive, change))


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

    def in_text(name: str, content: bytes) -> bytes:
        is_weight = name.endswith("weight_9")
        return pickle.dumps(_Writes(str(harm)), 0) if is_weight else in_weights(name, content)

    for change in (in_inputs, in_weights, in_text):
        with pytest.raises(UnusableProgram, match=r"pickled objects|is damaged"):
            pt2_archive.checked(rewritten(archive, change))
    assert not harm.exists()


def test_an_index_of_another_model_says_nothing_of_what_is_pickled(archive: bytes) -> None:
    decoy = {"config": {"x": {"path_name": "weight_9", "use_pickle": False}}}

    def change(name: str, content: bytes) -> bytes:
        if name.endswith("model_weights_config.json"):
            return content.replace(b'"use_pickle": false', b'"use_pickle": true')
        return b"cos\nsystem\n" if name.endswith("weight_9") else content

    with zipfile.ZipFile(buffer := io.BytesIO(rewritten(archive, change)), "a") as changed:
        changed.writestr("archive/data/weights/decoy_weights_config.json", json.dumps(decoy))
    with pytest.raises(UnusableProgram, match=r"pickled objects|is damaged"):
        pt2_archive.checked(buffer.getvalue())


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ["archive/models/model.json", "archive/models/MODEL.json"])
def test_names_of_which_torch_may_take_another_are_refused(archive: bytes, name: str) -> None:
    with zipfile.ZipFile(buffer := io.BytesIO(archive), "a") as changed:
        changed.writestr(name, b"{}")
    with pytest.raises(UnusableProgram, match="two members of one name"):
        pt2_archive.checked(buffer.getvalue())


def test_what_stands_before_an_archive_is_left_out(archive: bytes) -> None:
    assert pt2_archive.checked(b"PTMF" * 20 + archive) == pt2_archive.checked(archive)
    script = networks.torchscript(Net())
    copied = torchscript_archive.checked(b"PTMF" * 20 + script)
    assert copied.startswith(b"PK\x03\x04")
    assert copied == torchscript_archive.checked(script)


@pytest.mark.parametrize(
    "member", ["constants/custom_obj_0", "constants/opaque_obj_0", "aotinductor/model/a.so"]
)
def test_objects_and_compiled_code_are_refused(archive: bytes, member: str) -> None:
    with zipfile.ZipFile(buffer := io.BytesIO(archive), "a") as changed:
        changed.writestr(f"archive/data/{member}", b"x")
    with pytest.raises(UnusableProgram, match="objects or compiled code"):
        pt2_archive.checked(buffer.getvalue())


@pytest.mark.parametrize("content", [b"PK\x03\x04 torn", b"", b"no archive"])
def test_what_is_no_archive_is_damaged(content: bytes) -> None:
    for checked in (pt2_archive.checked, torchscript_archive.checked):
        with pytest.raises(UnusableProgram, match="is damaged"):
            checked(content)


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
        torchscript_archive.checked(networks.torchscript(network))
    torchscript_archive.checked(networks.torchscript(Net()))


def with_call(text: str) -> bytes:
    """Return a script with a line of code in it."""
    line = b"    w = self.conv1\n"
    return rewritten(
        networks.torchscript(Net()),
        lambda name, member: (
            member.replace(b"    conv1 = self.conv1\n", f"    {text}\n".encode() + line)
            if name.endswith(".py")
            else member
        ),
    )


@pytest.mark.parametrize(
    "text",
    [
        'a = ops.aten.save(x, "harm")',
        "t = torch",
        'getattr(torch, "sa\\166e")(x, "harm")',
        "g = getattr",
        '(x).save("harm")',
        "a = fork(x)",
        "a = __torch__.torch.classes.cuda.Stream(x)",
    ],
)
def test_functions_by_other_names_are_refused(text: str) -> None:
    with pytest.raises(UnusableProgram, match="which can reach files"):
        torchscript_archive.checked(with_call(text))


def test_sources_that_torch_finds_by_another_case_are_left_out() -> None:
    content = networks.torchscript(Net())
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            new.writestr(name.replace(".py", ".PY"), old.read(name))
    assert b".PY" not in torchscript_archive.checked(buffer.getvalue())


def test_onnx_weights_in_other_files_are_not_read() -> None:
    model = onnx.load_from_string(networks.onnx(networks.trained(Net()), X_BCHW))
    model.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    with pytest.raises(UnusableProgram, match="in other files"):
        Program("onnx", content_of(model.SerializeToString()))


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
        torchscript_archive.checked(content)


def test_an_archive_that_unpacks_to_a_thousand_times_its_bytes_is_refused(archive: bytes) -> None:
    buffer = io.BytesIO(archive)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as file, file.open("a/x", "w") as zeros:
        for _ in range(300):
            zeros.write(bytes(1 << 20))
    with pytest.raises(UnusableProgram, match="describes far more than it holds"):
        Program("pt2", content_of(buffer.getvalue()))


def test_nothing_is_logged_of_an_archive_that_torch_cannot_read(
    archive: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    def cut(name: str, content: bytes) -> bytes:
        return content[:8] if "/data/weights/weight_" in name else content

    log = logging.getLogger("torch.export")  # torch keeps what it logs from the loggers above
    log.addHandler(caplog.handler)
    try:
        with pytest.raises(UnusableProgram, match=r"cannot be read by torch"):
            exported_program.load(rewritten(archive, cut))
    finally:
        log.removeHandler(caplog.handler)
    assert not caplog.records
