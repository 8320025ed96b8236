"""ONNX files and other programs that read elsewhere, or compute with what is not the standard's."""

import os
from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper

from benchmarks.reliability import small_project
from benchmarks.reliability.hostile.scene import ANY_END, Attack, NotSurvivedError, Scene, link

_SIZE = 4
_SECRET = np.arange(1, 1 + _SIZE, dtype=np.float32).tobytes()


def _external(location: str, name: str = "s", *, offset: str = "") -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[_SIZE])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset)):
        if value:
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value
    return tensor


def _branch(name: str, tensor: TensorProto) -> onnx.GraphProto:
    output = helper.make_tensor_value_info(name, TensorProto.FLOAT, [_SIZE])
    node = helper.make_node("Constant", [], [name], value=tensor)
    return helper.make_graph([node], f"of {name}", [], [output])


def _graph(location: str, how: str, *, operator: str = "Add", domain: str = "") -> bytes:
    """Return a graph that adds four numbers, which lie at `location`, to a mean of the image."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, 8, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", _SIZE])
    nodes, initializers = [], []
    if how == "initializer":
        initializers.append(_external(location))
    elif how == "constant":
        nodes.append(helper.make_node("Constant", [], ["s"], value=_external(location)))
    else:
        condition = helper.make_tensor("c", TensorProto.BOOL, [], [True])
        nodes.append(helper.make_node("Constant", [], ["c"], value=condition))
        branches = {
            f"{which}_branch": _branch(which, _external(location, which))
            for which in ("then", "else")
        }
        nodes.append(helper.make_node("If", ["c"], ["s"], **branches))
    nodes += [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Unsqueeze", ["m"], ["u"], axes=[1]),
        helper.make_node(operator, ["u", "s"], ["y"], domain=domain),
    ]
    graph = helper.make_graph(nodes, "g", [x], [y], initializers)
    opsets = [helper.make_opsetid("", 11), *([helper.make_opsetid(domain, 1)] if domain else [])]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=7)
    return bytes(model.SerializeToString())


_HOWS = ("initializer", "constant", "branch")


def _read(scene: Scene, content: bytes) -> None:
    """Read a graph as a teacher, and build an engine of it; neither may hold the secret."""
    small_project.write(scene.project)
    (scene.project / "evil.onnx").write_bytes(content)
    scene.attempt("run", "teacher", "--set", "teacher.weights=evil.onnx")
    scene.attempt("build", "--onnx", "evil.onnx", "--precision", "fp32", "--out", "engine")
    results = (*scene.project.glob(".madpipe/**/*"), *scene.project.glob("engine/**/*"))
    for path in results:
        if path.is_file() and _SECRET in path.read_bytes():
            raise NotSurvivedError(f"expected no bytes from outside, seen in {path.name}")


def _outside(scene: Scene, variant: int) -> None:
    secret = scene.outside / "secret.bin"
    secret.write_bytes(_SECRET)
    where = (
        "../outside/secret.bin",
        str(secret),
        "a/../../outside/secret.bin",
        "link.bin",
        "folder/secret.bin",
        "..\\outside\\secret.bin",
    )[variant // len(_HOWS)]
    link(scene.project / "link.bin", secret)
    link(scene.project / "folder", scene.outside)
    _read(scene, _graph(where, _HOWS[variant % len(_HOWS)]))


def _endless(scene: Scene, variant: int) -> None:
    """Name devices and pipes, which end never."""
    (scene.project / "zero").symlink_to("/dev/zero")
    os.mkfifo(scene.project / "pipe")
    where = ("zero", "pipe", "/dev/zero", "/proc/self/mem", ".", "")[variant]
    _read(scene, _graph(where, _HOWS[variant % len(_HOWS)]))


def _foreign_operator(scene: Scene, variant: int) -> None:
    """Compute with an operator of another domain, for which a library would be loaded."""
    domains = ("com.microsoft", "evil", "ai.onnx.contrib", "com.nvidia", "pkg.torch")
    names = ("Gelu", "Evil", "PyOp", "TRT_PluginV2", "print")
    _read(
        scene, _graph("here.bin", "initializer", operator=names[variant], domain=domains[variant])
    )


_TEXTS: tuple[Callable[[str], str], ...] = (
    lambda shell: f"__import__('os').system('{shell}')",
    lambda shell: f"$({shell})",
    lambda _: "../../outside/a/notes.txt",
    lambda _: "\x1b]52;c;eA==\x07",
    lambda _: "x; import os",
)


def _names(scene: Scene, variant: int) -> None:
    """Name nodes, values and the graph itself as code and paths."""
    text = _TEXTS[variant](scene.shell)
    model = onnx.load_from_string(_graph("here.bin", "initializer"))
    (scene.project / "here.bin").write_bytes(bytes(4 * _SIZE))
    for node in model.graph.node:
        node.name = text
        for values in (node.input, node.output):
            renamed = [text if value == "u" else value for value in values]
            del values[:]
            values.extend(renamed)
    model.graph.name = model.producer_name = text
    model.metadata_props.add(key="classes", value=text)
    small_project.write(scene.project)
    (scene.project / "named.onnx").write_bytes(model.SerializeToString())
    for command in (
        ("run", "teacher", "--set", "teacher.weights=named.onnx"),
        ("build", "--onnx", "named.onnx", "--precision", "fp32", "--out", "engine"),
    ):
        ended = scene.attempt(*command, codes=ANY_END)
        if "\x1b" in ended.stdout + ended.stderr:
            raise NotSurvivedError(f"{command[0]}: expected no escape, seen one")


ATTACKS = (
    Attack("an ONNX file whose weights lie outside", _outside, 18, is_quick=True),
    Attack("an ONNX file whose weights are endless", _endless, 6, is_quick=True),
    Attack("an ONNX file with operators of others", _foreign_operator, 5, is_quick=True),
    Attack("an ONNX file with names of code", _names, len(_TEXTS), is_quick=True),
)
