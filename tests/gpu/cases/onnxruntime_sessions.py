"""ONNX Runtime's CUDA provider on hollow CUDA: it loads, and every layer has a kernel there."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.settings import Build, Export, InputName, PrecisionName, Validate
from stages import standalone
from stages.data.images import Images
from stages.engines import timing
from stages.engines.base import BACKENDS
from stages.engines.open_engine import open_engine, read_manifest
from stages.networks import card as cards
from stages.networks import factory, weights
from stages.validate import latency
from tests.gpu.hollow.calls import Calls
from tests.stages.tiny import card

SIZE_PX = 32
PRECISIONS: tuple[PrecisionName, ...] = ("fp32", "fp16")


def _checked_engine(onnx: Path, folder: Path, precision: PrecisionName) -> latency.Engine:
    """Build an engine, where a layer without a kernel on the GPU is refused, and run it."""
    options = Build(backend="onnxruntime", device="cuda", precision=precision)
    manifest = standalone.build(onnx, folder, options)
    assert (manifest.device, manifest.precision) == ("cuda", precision)
    path = folder / manifest.engine
    session = open_engine(read_manifest(folder / "manifest.json", path), path, threads=1)
    x_BCHW = np.zeros((5, 3, SIZE_PX, SIZE_PX), np.float32)
    assert session.infer(x_BCHW).shape == (5, 10)
    call = session.prepared(x_BCHW)
    call()
    before = Calls.read()
    call()
    calls = Calls.read().since(before)
    assert calls.launches > 0
    assert calls.pageable_copies == 0
    return latency.Engine(manifest, path, session)


@pytest.mark.parametrize(
    ("arch", "takes"),
    [
        ("resnet8", "float-nchw"),
        ("resnet8", "uint8-nhwc"),
        ("vgg11", "float-nchw"),
        ("mobilenetv2", "float-nchw"),
    ],
)
def test_engines_have_all_their_layers_on_the_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arch: str, takes: InputName
) -> None:
    monkeypatch.setattr(timing, "_CAP_S", 0.1)  # times here are never steady
    described = card(arch=arch, channels=3, image_size_px=SIZE_PX, mean=(0.5,) * 3, std=(0.25,) * 3)
    network = factory.build(described, code=None, place="arch")
    weights.save(tmp_path / "weights", network.backbone, cards.metadata(described))
    onnx = tmp_path / "network.onnx"
    standalone.export(
        tmp_path / "weights", onnx,
        options=Export(input=takes),
    )  # fmt: skip
    engines = [_checked_engine(onnx, tmp_path / name, name) for name in PRECISIONS]
    # The last engine beside its teacher, in the loop that validate measures with.
    images = Images(
        torch.zeros(8, 3, SIZE_PX, SIZE_PX, dtype=torch.uint8),
        torch.zeros(8, dtype=torch.int64),
        described.classes,
    )
    measured, _ = latency.measure(
        latency.Teacher(network, described, None),
        engines[-1],
        images,
        Validate(pairs=4, warmup_s=0.0, batch_sizes=(4,), teacher_engine=arch == "resnet8"),
        opset=BACKENDS["onnxruntime"].opset,
    )
    assert (measured.device, measured.teacher_engine_absent) == ("cuda", None)
