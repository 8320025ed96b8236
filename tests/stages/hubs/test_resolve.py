"""From names to records: what each hub says, what is refused, and what is kept."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import SettingsFault, UnavailableError
from stages.hubs import resolve
from stages.hubs.records import Located, RepoFile, UrlFile
from tests.stages.hubs.local_hub import cache_repository, config, timm_weights

ROOT = Path(__file__).parents[3]


def _locate(name: str, root: Path | None = None, arch: str = "resnet14") -> Located:
    located = resolve.locate(name, arch, "teacher.weights", root)
    assert located is not None
    return located


def test_torchvision_says_what_its_weights_take_and_where_they_lie() -> None:
    located = _locate("torchvision:resnet18.IMAGENET1K_V1")
    weights = located.weights
    assert (weights.arch, weights.num_classes) == ("torchvision:resnet18", 1000)
    assert (weights.image_size_px, weights.resize_px) == (224, 256)
    assert (weights.mean, weights.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert weights.classes[:2] == ("tench", "goldfish")
    (file,) = located.files
    assert isinstance(file, UrlFile)
    assert file.name == "resnet18-f37072fd.pth"


def test_a_member_alone_is_of_the_architecture_in_the_settings() -> None:
    whole = _locate("torchvision:resnet18.DEFAULT")
    assert _locate("torchvision:IMAGENET1K_V1", arch="torchvision:resnet18") == whole


@pytest.mark.parametrize("network", ["googlenet", "inception_v3"])
def test_an_input_that_torchvision_transforms_is_normalised_so_at_once(network: str) -> None:
    import torch
    from torchvision import models

    weights = _locate(f"torchvision:{network}.DEFAULT").weights
    built = models.get_model(network, transform_input=True, init_weights=False)
    transforms = models.get_model_weights(network).DEFAULT.transforms()
    x_BCHW = torch.rand(1, 3, 4, 4)

    def normalised(mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
        mean_C11, std_C11 = (torch.tensor(values)[:, None, None] for values in (mean, std))
        return (x_BCHW - mean_C11) / std_C11

    usual = built._transform_input(normalised(transforms.mean, transforms.std))
    torch.testing.assert_close(normalised(weights.mean, weights.std), usual)


def test_timm_says_what_its_weights_take_and_where_they_lie() -> None:
    located = _locate("timm:resnet18.a1_in1k")
    weights = located.weights
    assert (weights.arch, weights.interpolation) == ("timm:resnet18", "bicubic")
    assert (weights.image_size_px, weights.resize_px) == (224, 235)  # floor(224 / 0.95)
    assert weights.classes[:2] == ("n01440764", "n01443537")
    assert located.files[0] == RepoFile("timm/resnet18.a1_in1k", "model.safetensors")
    assert located == _locate("timm:resnet18")


def test_scaling_that_is_another_in_timm_is_a_remark() -> None:
    (remark,) = _locate("timm:vit_base_patch16_clip_224.openai_ft_in1k").weights.remarks or ("",)
    assert not remark
    (remark,) = _locate("timm:convnextv2_base.fcmae_ft_in22k_in1k_384").weights.remarks
    assert "crop mode squash" in remark


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("timm:resnt18.a1_in1k", r"no such network, did you mean 'resnet18'\? \(resnt18\)"),
        ("timm:resnet18.a1_in1q", r"no such weights, did you mean 'a1_in1k'\?.*name one of a1_in"),
        ("timm:vit_base_patch14_dinov2", r"gives features and no classes .*num_classes 0"),
        ("torchvision:resnet18.IMAGENET1K_V9", "did you mean 'IMAGENET1K_V1'"),
        ("torchvision:resent18.DEFAULT", "did you mean 'resnet18'"),
        ("torchvision:fcn_resnet50.DEFAULT", "is no classifier of images .*SemanticSegmentation"),
        ("torchvision:quantized_resnet18.DEFAULT", r"no such network|quantized\)"),
        ("torchvision:IMAGENET1K_V1", r"names weights of no network .*teacher.arch is resnet14"),
        ("torchvision:", "is no name of weights"),
        ("torchvision:a/b.c", "is no name of weights"),
        ("timm:../x", "is no name of weights"),
        ("hf:net", "is no name of weights"),
        ("hf:owner/../net", "is no name of weights"),
        ("hf:owner/net@../../x", "is no name of weights"),
        ("hf:owner/net@", "is no name of weights"),
    ],
)
def test_a_name_that_no_hub_has_is_a_fault_of_the_settings(name: str, text: str) -> None:
    with pytest.raises(SettingsFault, match=text):
        _locate(name)


def test_a_repository_is_read_from_its_cached_config(caches: Path) -> None:
    name = "hf:owner/net"
    assert resolve.locate(name, "resnet14", "teacher.weights", None) is None
    cache_repository(caches / "hf", "owner/net", {"config.json": config()})
    located = _locate(name)
    assert located.weights.arch == "timm:test_resnet"
    assert located.files[0] == RepoFile("owner/net", "model.safetensors")
    assert resolve.locate(f"{name}@v2", "resnet14", "teacher.weights", None) is None


def test_two_names_of_one_network_have_the_same_record(caches: Path) -> None:
    pretrained = json.loads(config())["pretrained_cfg"] | {
        "input_size": [3, 160, 160],
        "crop_pct": 0.95,
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
    }
    by_timm = _locate("timm:test_resnet.r160_in1k").weights
    text = config(num_classes=1000, label_names=list(by_timm.classes), pretrained_cfg=pretrained)
    cache_repository(caches / "hf", "timm/test_resnet.r160_in1k", {"config.json": text})
    assert _locate("hf:timm/test_resnet.r160_in1k").weights == by_timm


_PROGRAM = """
import sys
from pathlib import Path
from stages.hubs import resolve
print(resolve.locate(sys.argv[1], "resnet14", "teacher.weights", Path(sys.argv[2])).weights.arch)
print(*{"torch", "torchvision", "timm", "huggingface_hub"} & set(sys.modules))
"""


@pytest.mark.parametrize("name", ["timm:test_resnet.r160_in1k", "torchvision:alexnet.DEFAULT"])
def test_a_library_is_asked_once_for_a_name_and_version(name: str, tmp_path: Path) -> None:
    located = _locate(name, tmp_path)
    program = [sys.executable, "-c", _PROGRAM, name, str(tmp_path)]
    lines = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert lines.splitlines() == [located.weights.arch, ""]


def test_a_record_of_another_version_is_not_taken(tmp_path: Path) -> None:
    name = "torchvision:alexnet.DEFAULT"
    located = _locate(name, tmp_path)
    (path,) = (tmp_path / ".madpipe" / "cache" / "weights_by_name").iterdir()
    record = json.loads(path.read_bytes())
    record["located"]["weights"]["image_size_px"] = 100
    path.write_text(json.dumps(record), encoding="utf-8")
    assert _locate(name, tmp_path).weights.image_size_px == 100
    path.write_text(json.dumps(record | {"version": "0.1"}), encoding="utf-8")
    assert _locate(name, tmp_path) == located
    path.write_bytes(b"{")
    assert _locate(name, tmp_path) == located


def test_a_folder_that_cannot_be_written_keeps_no_record(tmp_path: Path) -> None:
    (tmp_path / ".madpipe").write_bytes(b"a file")
    assert _locate("torchvision:alexnet.DEFAULT", tmp_path).weights.image_size_px == 224


def test_a_name_of_timm_needs_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UnavailableError, match=r"not installed .*pip install 'madpipe\[hub\]'"):
        _locate("timm:resnet18.a1_in1k")


def test_weights_of_the_local_hub_fit_their_config() -> None:
    import safetensors.torch

    assert safetensors.torch.load(timm_weights())["fc.weight"].shape[0] == 4
