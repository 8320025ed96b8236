"""A teacher whose file computes by itself: what it takes is read, asked for, or refused."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from models.classifier import Classifier
from models.programs.moment_tap import MomentTap
from pipeline.errors import StageError, UsageError
from pipeline.settings import Data, Teacher
from stages.engines.ort import OrtSession
from stages.networks import card as cards
from stages.networks import factory
from stages.networks.card import Card
from stages.onnxgraph import io as onnx_io
from stages.onnxgraph import torch_export
from stages.teacher import program_card
from tests.models.programs import networks
from tests.models.programs.networks import Net
from tests.stages.tiny import TinyRun, run_stages, settings

X_BCHW = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))
SEEN = Data(mean=(0.25,), std=(0.5,))


def _described(path: Path, data: Data = SEEN, **teacher: Any) -> Card:
    options = Teacher(weights=str(path), **teacher)
    return program_card.described(program_card.read(path, options, data), path, options, data)


def _teacher(path: Path, folder: Path, *, bank: bool = False, **tables: Any) -> TinyRun:
    chosen = settings(
        {
            "data": {"mean": (0.25,), "std": (0.5,), **tables.get("data", {})},
            "teacher": {"arch": "resnet14", "weights": str(path), **tables.get("teacher", {})},
            "validate": {"images": "bank" if bank else "held-out"},
        }
    )
    return run_stages(chosen, folder, count=1)


def _file(folder: Path, name: str, network: nn.Module, x: Tensor = X_BCHW) -> Path:
    makers: dict[str, Callable[[nn.Module, Tensor], bytes]] = {
        "onnx": networks.onnx,
        "pt2": networks.pt2,
    }
    content = networks.torchscript(network) if name == "script" else makers[name](network, x)
    (folder / name).write_bytes(content)
    return folder / name


@pytest.mark.parametrize("name", ["onnx", "pt2", "script"])
def test_a_teacher_without_code_is_the_network_that_it_is_of(name: str, tmp_path: Path) -> None:
    network = networks.trained(Net(classes=10))
    run = _teacher(_file(tmp_path, name, network), tmp_path, bank=True, data={"image_size_px": 8})
    restored, described = factory.load(run.path("teacher/weights"), code=None, place="teacher")
    assert described.arch == f"file:{'torchscript' if name == 'script' else name}"
    assert (described.mean, described.std) == ((0.25,), (0.5,))
    x_BCHW = torch.rand(5, 1, 8, 8)
    with torch.no_grad():
        wanted = Classifier(network, (0.25,), (0.5,))(x_BCHW)
        torch.testing.assert_close(restored(x_BCHW), wanted, rtol=1e-4, atol=1e-5)
    assert any("gives the same here as in" in note for note in run.notes())
    assert run.metrics("teacher")["params"] >= 500


def test_with_labelled_images_it_is_measured_and_preflighted(tiny: TinyRun, tmp_path: Path) -> None:
    network, described = factory.load(tiny.path("teacher/weights"), code=None, place="teacher")
    contiguous = network.backbone.to(memory_format=torch.contiguous_format)
    path = _file(tmp_path, "pt2", contiguous)
    data = {"mean": described.mean, "std": described.std}
    run = _teacher(path, tmp_path, data=data)
    assert run.metrics("teacher")["top1"] == pytest.approx(tiny.metrics("teacher")["top1"])
    for requirement in run.stages[0].requires:
        requirement.check()


def test_without_labelled_images_classes_are_counted(tmp_path: Path) -> None:
    path = _file(tmp_path, "onnx", networks.trained(Net()))
    run = _teacher(path, tmp_path, bank=True)
    described = cards.read(run.path("teacher/weights"))
    assert described is not None
    assert described.classes == ("0", "1", "2", "3")
    assert described.size_px == (8, 8)


def test_what_range_of_values_it_takes_is_asked_for(tmp_path: Path) -> None:
    path = _file(tmp_path, "pt2", networks.trained(Net()))
    with pytest.raises(UsageError, match=r"^teacher\.input: is needed.*\"unit\".*\"bytes\""):
        _described(path, Data())
    assert _described(path, Data(), input="unit").std == (1.0,)
    assert _described(path, Data(), input="bytes").std == (1 / 255,)
    assert _described(path).mean == (0.25,)
    with pytest.raises(UsageError, match=r"^data\.mean: is needed where teacher\.input"):
        _described(path, Data(), input="normalised")


def test_a_script_does_not_say_its_size(tmp_path: Path) -> None:
    path = _file(tmp_path, "script", networks.trained(Net()))
    with pytest.raises(UsageError, match=r"^data\.image_size_px: is needed"):
        _described(path)
    described = _described(path, Data(image_size_px=12, mean=(0.25,), std=(0.5,)))
    assert (described.channels, described.size_px) == (1, (12, 12))


def test_a_file_that_takes_bytes_says_so_itself(tmp_path: Path) -> None:
    model = onnx.load(io.BytesIO(networks.onnx(networks.trained(Net()), X_BCHW)))
    images = model.graph.input[0]
    scaled = [
        helper.make_node("Cast", ["bytes"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["floats"], [images.name], perm=[0, 3, 1, 2]),
    ]
    nodes = [*scaled, *model.graph.node]
    del model.graph.node[:], model.graph.input[:]
    model.graph.node.extend(nodes)
    model.graph.input.append(
        helper.make_tensor_value_info("bytes", TensorProto.UINT8, ["batch", 8, 8, 1])
    )
    onnx.save(model, tmp_path / "bytes.onnx")
    described = _described(tmp_path / "bytes.onnx", Data())
    assert (described.layout, described.std) == ("NHWC", (1 / 255,))
    run = _teacher(tmp_path / "bytes.onnx", tmp_path, bank=True)
    restored, _ = factory.load(run.path("teacher/weights"), code=None, place="teacher")
    x_BCHW = X_BCHW.clone().requires_grad_()
    restored(x_BCHW)[:, 0].sum().backward()
    assert x_BCHW.grad is not None
    assert x_BCHW.grad.any()
    with pytest.raises(UsageError, match=r"^teacher\.input: contradicts"):
        _described(tmp_path / "bytes.onnx", input="unit")


class _Two(Net):
    def forward(self, x: Tensor) -> Any:
        logits = super().forward(x)
        return {"features": x.flatten(1), "scores": logits}


def test_which_of_several_outputs_is_asked_for_and_named(tmp_path: Path) -> None:
    network = networks.trained(_Two())
    path = _file(tmp_path, "pt2", network)
    with pytest.raises(StageError, match=r"^teacher\.output: .*features \(64,\), scores \(4,\)"):
        _described(path)
    assert _described(path, output="scores").num_classes == 4
    with pytest.raises(StageError, match=r"^teacher\.output: is no output.*\(boxes; features"):
        _described(path, output="boxes")
    named = _file(tmp_path, "onnx", networks.trained(_Two()))
    with pytest.raises(StageError, match=r"^teacher\.weights: has more than one.*teacher\.output"):
        _described(named)


@pytest.mark.parametrize("output", ["scores", "1", 1])
@pytest.mark.parametrize("name", ["onnx", "pt2"])
def test_another_output_than_the_first_is_held_against_its_own_runtime(
    name: str, output: str | int, tmp_path: Path
) -> None:
    path = _file(tmp_path, name, networks.trained(_Two()))
    if name == "onnx" and output == "scores":
        output = [value.name for value in onnx.load(path).graph.output][1]
    run = _teacher(path, tmp_path, bank=True, teacher={"output": output})
    assert any("gives the same here" in note for note in run.notes())


def test_the_statistics_of_a_source_are_no_word_on_what_a_file_takes(tmp_path: Path) -> None:
    path = _file(tmp_path, "pt2", networks.trained(Net(classes=10)))
    tables: dict[str, Any] = {"data": {"mean": (), "std": ()}, "teacher": {"input": "normalised"}}
    with pytest.raises(UsageError, match=r"^data\.mean: is needed"):
        _teacher(path, tmp_path, **tables)


def test_two_classes_told_apart_by_one_logit_are_exported_for_any_batch(tmp_path: Path) -> None:
    path = _file(tmp_path, "pt2", networks.trained(Net(classes=1)))
    run = _teacher(path, tmp_path, bank=True)
    restored, described = factory.load(run.path("teacher/weights"), code=None, place="teacher")
    assert (described.num_classes, described.outputs) == (2, "one-logit")
    model = torch_export.from_torch(restored, described, opset=18)
    onnx_io.save(model, tmp_path / "teacher.onnx")
    session = OrtSession(tmp_path / "teacher.onnx")
    for count in (1, 5):
        x_BCHW = torch.rand(count, 1, 8, 8)
        with torch.no_grad():
            wanted_BK = restored(x_BCHW)
        torch.testing.assert_close(
            torch.from_numpy(session.infer(x_BCHW.numpy())), wanted_BK, rtol=1e-4, atol=1e-5
        )


def test_other_images_are_refused_with_what_to_set(tmp_path: Path) -> None:
    path = _file(tmp_path, "pt2", networks.trained(Net(classes=10)), torch.rand(2, 1, 12, 12))
    with pytest.raises(StageError, match=r"1x12x12, the images are 1x8x8.*image_size_px = 12"):
        _teacher(path, tmp_path)


def test_a_node_without_gradient_is_named(tmp_path: Path) -> None:
    class Decides(Net):
        def forward(self, x: Tensor) -> Any:
            places = super().forward(x).argmax(1, keepdim=True)
            return torch.arange(4) - places.float()

    path = _file(tmp_path, "onnx", networks.trained(Decides()))
    with pytest.raises(StageError, match=r"no gradient.*lost in ArgMax \(.*ArgMax.*\)"):
        _teacher(path, tmp_path, bank=True)


def test_names_of_classes_have_to_fit_the_outputs(tmp_path: Path) -> None:
    path = _file(tmp_path, "pt2", networks.trained(Net()))
    data = Data(mean=(0.25,), std=(0.5,), classes=("a", "b", "c"))
    with pytest.raises(UsageError, match=r"^data\.classes: contradicts .*3 names, 4 outputs"):
        _described(path, data)


def test_a_batch_that_is_fixed_for_good_is_refused(tmp_path: Path) -> None:
    class Fixed(Net):
        def forward(self, x: Tensor) -> Any:
            return super().forward(x) + torch.ones(2, 1)

    (tmp_path / "f.pt2").write_bytes(
        networks.pt2(networks.trained(Fixed(classes=10)), X_BCHW, dynamic=False)
    )
    with pytest.raises(StageError, match=r"^teacher\.weights: .*batch"):
        _teacher(tmp_path / "f.pt2", tmp_path)


def test_a_language_model_is_no_teacher(tmp_path: Path) -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(9, 4)

        def forward(self, x: Tensor) -> Any:
            return self.table(x).mean(1)

    tokens = torch.zeros(2, 5, dtype=torch.int64)
    for name in ("onnx", "pt2"):
        path = _file(tmp_path, name, Words(), tokens)
        with pytest.raises(StageError, match=r"^teacher\.weights: takes"):
            _described(path)


def test_a_script_is_compared_as_its_gradient_is_made_and_not_with_itself(tmp_path: Path) -> None:
    path = _file(tmp_path, "script", networks.trained(Net()))
    options = Teacher(weights=str(path))
    data = Data(image_size_px=8, mean=(0.25,), std=(0.5,))
    file = program_card.read(path, options, data)
    described = program_card.described(file, path, options, data)
    network = program_card.restored(file, described)
    assert "gives the same here as in torch.jit" in program_card.checked(
        file, path, described, network
    )
    tap = next(module for module in network.modules() if isinstance(module, MomentTap))
    tap.register_forward_hook(lambda _, __, output: output + 1)
    with pytest.raises(StageError, match=r"gives other outputs in torch\.jit than here"):
        program_card.checked(file, path, described, network)


def test_a_file_of_any_size_is_asked_for_one_by_the_teachers_setting(tmp_path: Path) -> None:
    model = onnx.load(io.BytesIO(networks.onnx(networks.trained(Net()), X_BCHW)))
    for dim in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.dim_param = "side"
    onnx.save(model, tmp_path / "open.onnx")
    with pytest.raises(StageError, match=r"any size.*; set data\.image_size_px"):
        _described(tmp_path / "open.onnx")
    described = _described(
        tmp_path / "open.onnx", Data(image_size_px=(12, 16), mean=(0.25,), std=(0.5,))
    )
    assert described.size_px == (12, 16)
