"""From torch to ONNX: what goes another way, and what is said of what does not go."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torchvision import ops

from models import registry
from models.classifier import Classifier
from pipeline.errors import StageError
from pipeline.settings import Export
from stages.export.compare import Comparison
from stages.export.stage import export
from stages.networks.card import Card
from stages.onnxgraph.decompositions import adaptive_max_pool2d
from stages.onnxgraph.torch_export import from_torch
from tests.stages.tiny import card

CARD = card(arch="net", channels=3, image_size_px=12, mean=(0.5,) * 3, std=(0.5,) * 3)
HEAD = """
import torch
from torch import nn
from torch.nn import functional
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.fc = nn.Linear(4, 10)
    def forward(self, x):
        h = self.conv(x).mean((2, 3))
"""
BY_VALUES = "        if h.max().item() > 10: h = h / 2\n        return self.fc(h)"


def _export(backbone: nn.Module, folder: Path, described: Card = CARD) -> Comparison:
    network = Classifier(backbone, described.mean, described.std).eval()
    shape = (8, 3, described.image_size_px, described.image_size_px)
    images_NCHW = np.random.default_rng(0).random(shape, dtype=np.float32)
    return export(
        network,
        described,
        folder / "m.onnx",
        options=Export(),
        opset=22,
        images_NCHW=images_NCHW,
        student_sha256="0" * 64,
    )


def _users(folder: Path, rest: str) -> nn.Module:
    file = folder / "net.py"
    file.write_text(HEAD + rest + "\ndef make(): return Net()\n", encoding="utf-8")
    torch.manual_seed(0)
    return registry.create("net.py:make", in_channels=3, num_classes=10, code=file)


@pytest.mark.parametrize("cells", [(1, 1), (3, 3), (5, 2), (9, 11)])
def test_the_largest_of_each_cell_is_torchs(cells: tuple[int, int]) -> None:
    x_BCHW = torch.rand(2, 3, 10, 11)
    torch.testing.assert_close(
        adaptive_max_pool2d(x_BCHW, cells)[0], functional.adaptive_max_pool2d(x_BCHW, cells)
    )


def test_adaptive_max_pooling_is_written_as_simpler_operators(tmp_path: Path) -> None:
    pooled = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.AdaptiveMaxPool2d(3), nn.Flatten(), nn.Linear(36, 10)
    )
    comparison = _export(pooled, tmp_path)
    assert comparison.relative_difference < 1e-5
    assert any("simpler" in note for note in comparison.notes)


class _Cells(nn.Module):
    """Pools regions, which ONNX Runtime has at older opsets only."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(16, 10)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        count = x_BCHW.shape[0]
        boxes = torch.tensor([[0.0, 0.0, 9.0, 9.0]]).expand(count, 4)
        boxes = torch.cat([torch.arange(count)[:, None].float(), boxes], 1)
        cells = ops.roi_align(self.conv(x_BCHW), boxes, 2).flatten(1)
        logits: torch.Tensor = self.fc(cells)
        return logits


def test_a_graph_that_onnx_runtime_lacks_a_kernel_for_goes_by_tracing(tmp_path: Path) -> None:
    comparison = _export(_Cells(), tmp_path)
    assert comparison.relative_difference < 1e-5
    assert any("TorchScript" in note and "opset 20" in note for note in comparison.notes)


@pytest.mark.parametrize(
    ("rest", "line", "message"),
    [
        (BY_VALUES, 12, "values of the"),
        ("        return self.fc(torch.special.bessel_j0(h))", 12, "no ONNX for"),
        (
            "        return torch.cat([self.fc(h[i:i + 1]) for i in range(len(x))])",
            None,
            "unrolls its batch",
        ),
    ],
)
def test_what_cannot_be_exported_is_said_in_one_clean_line(
    rest: str, line: int | None, message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(StageError, match=f"export: .*{message}") as raised:
        _export(_users(tmp_path, rest), tmp_path)
    text = str(raised.value)
    assert line is None or f"net.py:{line}" in text
    assert not re.search(r"\n|\x1b|torch\.export\.|submit|report|http", text)
    assert capfd.readouterr() == ("", "")


def test_a_layer_of_torchs_is_named_where_no_line_of_the_users_calls_it(tmp_path: Path) -> None:
    pool = nn.FractionalMaxPool2d(2, 2)
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), pool, nn.Flatten(), nn.Linear(16, 10))
    with pytest.raises(StageError, match=r"no ONNX for aten.*\(layer 1, FractionalMaxPool2d\)"):
        _export(layers, tmp_path)


@pytest.mark.parametrize(
    "reshape",
    [
        lambda h: h.view(h.size(0), -1),
        lambda h: h.reshape(h.shape[0], -1),
        lambda h: h.view(-1, 4),
        lambda h: h.squeeze(),
    ],
)
def test_usual_ways_to_flatten_keep_the_batch_dynamic(
    reshape: Callable[[torch.Tensor], torch.Tensor], tmp_path: Path
) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 10)
            self.pool = nn.AdaptiveAvgPool2d(1)

        def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.fc(reshape(self.pool(self.conv(x_BCHW))))
            return logits

    assert _export(Net(), tmp_path).notes == ()


def test_the_first_error_is_raised_where_no_comparison_is_made(tmp_path: Path) -> None:
    network = Classifier(_users(tmp_path, BY_VALUES), CARD.mean, CARD.std)
    with pytest.raises(StageError, match=r"values of the images.*\(net.py:12\)"):
        from_torch(network, CARD, opset=22)


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_torchscript_within_a_network_is_named(tmp_path: Path) -> None:
    layers = nn.Sequential(nn.Conv2d(3, 10, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(StageError, match=r"net holds TorchScript, .*\(backbone\)"):
        _export(torch.jit.script(layers), tmp_path)


@pytest.mark.parametrize("is_bytes", [False, True])
def test_pooling_of_a_network_in_channels_last_is_no_gather(*, is_bytes: bool) -> None:
    conv = nn.Conv2d(3, 10, 3)
    network = nn.Sequential(
        conv,
        nn.Conv2d(10, 10, 1),
        nn.Conv2d(10, 10, 3, groups=10),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    network.to(memory_format=torch.channels_last)
    model = from_torch(network, CARD, opset=22, is_bytes=is_bytes)
    assert "Gather" not in {node.op_type for node in model.graph.node}
    assert conv.weight.is_contiguous(memory_format=torch.channels_last)
