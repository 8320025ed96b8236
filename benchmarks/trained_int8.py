"""int8 and int4 that are rounded, by the bank and by real images, and trained, against fp32.

Run: python benchmarks/trained_int8.py --onnx student.onnx --run FOLDER [--data real.npz]

FOLDER has bank.npz, generator.safetensors and ema_generator.safetensors of a distill run; without
it int8 is trained on real images (the standalone use). Real images are scikit-learn's digits, or an
.npz with x_train, x_test (uint8 NHWC) and y_test. Graphs are run as they are written, unoptimised,
by ONNX Runtime on the CPU, so that no processor's saturation is in the figures.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, numpy_helper

from pipeline.settings import Build, Data
from stages import generators, image_bank
from stages.build.int8_training import Int8Trainer, _Generated, of_images
from stages.data import images
from stages.engines.base import BACKENDS, no_progress
from stages.engines.ort import OrtSession
from stages.networks.predict import predict
from stages.onnxgraph import convert, qdq
from stages.onnxgraph import io as onnx_io
from stages.onnxgraph.convert import PrecisionConverter

_CASES: dict[str, tuple[str, bool, bool]] = {
    "U8S8": ("onnxruntime", False, True),
    "U8S8, 7 bits": ("onnxruntime", True, True),
    "S8S8": ("tensorrt", False, True),
    "U8S8, 7 bits, per tensor": ("onnxruntime", True, False),
    "int4": ("openvino", False, True),
}
"""Backend, whether weights have 7 bits, and whether they have a scale for each channel."""


def _digits() -> dict[str, NDArray[Any]]:
    dataset = images.load(Data(), Path())
    cpu = torch.device("cpu")
    parts = {"train": dataset.train, "test": dataset.held_out}
    arrays = {f"x_{n}": part.batch(slice(0, len(part)), cpu).numpy() for n, part in parts.items()}
    return arrays | {"y_test": dataset.held_out.y_N.numpy()}


def _stored(path: Path) -> dict[str, NDArray[Any]]:
    with np.load(path) as file:
        arrays = {name: file[name] for name in ("x_train", "x_test", "y_test")}
    for name in ("x_train", "x_test"):
        arrays[name] = arrays[name].transpose(0, 3, 1, 2).astype(np.float32) / 255
    return arrays


def _logits(model: ModelProto, x_NCHW: NDArray[np.float32]) -> NDArray[np.float32]:
    session = OrtSession(model.SerializeToString(), is_optimised=False)
    return predict(session.infer, np.ascontiguousarray(x_NCHW))


def _trainer(run: Path | None, real_NCHW: NDArray[np.float32], options: Build) -> Int8Trainer:
    if run is None:
        return of_images(real_NCHW, options, no_progress, print)
    names = ("generator", "ema_generator")
    drawn_from = [generators.load(run / f"{name}.safetensors", "--run") for name in names]
    cpu = torch.device("cpu")
    source = _Generated(drawn_from, options.int8_batch_size or 256, cpu)
    steps = options.int8_steps
    return Int8Trainer(
        options, source, cpu, seed=0, steps=steps, on_progress=no_progress, on_note=print
    )


def _imbalanced(model: ModelProto, factor: float) -> ModelProto:
    """Return the same function with channels between convolutions scaled by up to `factor`.

    Folded BatchNorm leaves depthwise networks so (Nagel et al. 2019, figure 2); what follows ReLU
    is divided by what comes before it.
    """
    rng = np.random.default_rng(0)
    scaled = ModelProto()
    scaled.CopyFrom(model)
    tensors = {tensor.name: tensor for tensor in scaled.graph.initializer}
    users: dict[str, list[NodeProto]] = {}
    for node in scaled.graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)

    def scale(name: str, by: NDArray[np.float32]) -> None:
        array = numpy_helper.to_array(tensors[name])
        tensors[name].CopyFrom(numpy_helper.from_array((array * by).astype(np.float32), name))

    for first in scaled.graph.node:
        relus = users.get(first.output[0], [])
        if first.op_type != "Conv" or [relu.op_type for relu in relus] != ["Relu"]:
            continue
        seconds = users[relus[0].output[0]]
        if [second.op_type for second in seconds] != ["Conv"]:
            continue
        count = tensors[first.input[1]].dims[0]
        by_C = factor ** rng.uniform(-1, 1, count).astype(np.float32)
        scale(first.input[1], by_C[:, None, None, None])
        scale(first.input[2], by_C)
        scale(seconds[0].input[1], 1 / by_C[:, None, None])
    return scaled


def main() -> None:
    """Print a table of top-1 and of classes that differ from fp32."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--onnx", type=Path, required=True)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--steps", type=int, default=Build().int8_steps)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rate", type=float, default=Build().int8_learning_rate)
    parser.add_argument("--imbalance", type=float, default=1.0, help="of channels; 1: none")
    parser.add_argument("--equalise", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--cases", nargs="*", default=list(_CASES))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    options = Build(
        int8_steps=arguments.steps,
        int8_batch_size=arguments.batch,
        int8_learning_rate=arguments.rate,
        equalise=arguments.equalise,
    )
    model = _imbalanced(onnx_io.read(arguments.onnx, "--onnx"), arguments.imbalance)
    real = _stored(arguments.data) if arguments.data else _digits()
    x_NCHW, y_N, run = real["x_test"], real["y_test"], arguments.run
    order = np.random.default_rng(0).permutation(len(real["x_train"]))
    real_NCHW = real["x_train"][order[: options.calibration_images]]
    sources = {"real images": real_NCHW}
    if run is not None:
        sources = {"the bank": image_bank.load(run / "bank.npz", "--run")} | sources
    fp32_NK = _logits(model, x_NCHW)
    print(f"n = {len(y_N)}, fp32: top-1 {(fp32_NK.argmax(1) == y_N).mean():.4f}")

    def show(name: str, graph: ModelProto, seconds: float = 0.0) -> None:
        logits_NK = _logits(graph, x_NCHW)
        top1 = (logits_NK.argmax(1) == y_N).mean()
        differs = (logits_NK.argmax(1) != fp32_NK.argmax(1)).mean()
        print(f"  {name:40s} top-1 {top1:.4f}  differs {differs:.4f}  {seconds:.0f} s", flush=True)

    for case in arguments.cases:
        backend, saturates, has_channel_scales = _CASES[case]
        info = BACKENDS[backend]
        scheme = qdq.SCHEMES[info.scheme]
        qdq.SCHEMES[info.scheme] = scheme._replace(has_channel_scales=has_channel_scales)
        convert.int8_products_saturate = lambda saturates=saturates: saturates  # type: ignore[misc]
        print(case)
        for name, calibration_NCHW in sources.items():
            converter = PrecisionConverter(model, calibration_NCHW, options)
            graph = converter.convert("int4" if case == "int4" else "int8", info).model
            show(f"rounded by {name}", graph)
            if name == next(iter(sources)):
                begin_s = time.process_time()
                trained = _trainer(run, real_NCHW, options)(graph, converter.source())
                assert trained is not None
                show("trained", trained, time.process_time() - begin_s)
        qdq.SCHEMES[info.scheme] = scheme


if __name__ == "__main__":
    main()
