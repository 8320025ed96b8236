"""export and validate on files from anywhere; build is tested with its stage."""

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.errors import StageError, UsageError
from pipeline.gates import measurement_files
from pipeline.gates import measurements as records
from pipeline.settings import Build, Export, Validate
from stages import standalone
from stages.engines.open_engine import read_folder
from stages.export.compare import Comparison
from stages.networks.facts import Facts
from stages.onnxgraph import io as onnx_io
from stages.packaging import contents
from tests.stages.onnxgraph.graphs import classifier, saved
from tests.stages.tiny import card, resnet8, weights_file


def test_a_file_with_its_card_needs_nothing_more(tmp_path: Path) -> None:
    weights_file(tmp_path / "w.safetensors")
    result = standalone.export(
        tmp_path / "w.safetensors",
        tmp_path / "w.onnx",
    )
    assert (result["arch"], result["classes"], result["image_size_px"]) == ("resnet8", 10, 8)
    assert result["max_logit_difference"] < 1e-3
    assert onnx_io.card_of(onnx_io.read(tmp_path / "w.onnx", "here")) == card()


def test_a_file_can_be_exported_to_take_bytes(tmp_path: Path) -> None:
    weights_file(tmp_path / "w.safetensors")
    out = tmp_path / "new" / "folder" / "w.onnx"
    standalone.export(tmp_path / "w.safetensors", out, options=Export(input="uint8-nhwc"))
    signature = onnx_io.signature(onnx_io.read(out, "here"))
    assert (signature.input_type, signature.shape) == ("UINT8", (1, 8, 8))


@pytest.mark.parametrize(
    ("size_px", "count"), [(8, 64), (112, 64), (160, 31), (224, 16), (600, 16)]
)
def test_fewer_images_are_compared_where_they_are_large(
    size_px: int, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = []

    def no_export(*_: object, **options: Any) -> Comparison:
        compared.append((options["images_NCHW"].shape, options["batch_sizes"]))
        return Comparison(0.0, 0.0, 1.0)

    torch.save(resnet8().state_dict(), tmp_path / "w.pth")
    monkeypatch.setattr("stages.export.stage.export", no_export)
    standalone.export(tmp_path / "w.pth", tmp_path / "w.onnx", Facts(image_size_px=size_px))
    assert compared == [((count, 1, size_px, size_px), (1, 2, 7, count))]


def test_a_network_is_exported_built_and_measured_for_sides_that_differ(tmp_path: Path) -> None:
    torch.save(resnet8(channels=3).state_dict(), tmp_path / "w.pth")
    facts = Facts(image_size_px=(24, 40), mean=(0.5,) * 3, std=(0.2,) * 3)
    result = standalone.export(tmp_path / "w.pth", tmp_path / "w.onnx", facts)
    assert result["image_size_px"] == (24, 40)
    bank = np.random.default_rng(0).integers(0, 256, (8, 24, 40, 3), np.uint8)
    np.savez(tmp_path / "bank.npz", x=bank)
    standalone.build(tmp_path / "w.onnx", tmp_path / "engine", Build(device="cpu"))
    options = Validate(pairs=20, warmup_s=0.01, batch_sizes=(1,))
    measured = standalone.validate(
        tmp_path / "engine", tmp_path / "w.pth", f"bank:{tmp_path / 'bank.npz'}", options
    )
    assert measured.bank_agreement["engine"].value == 1
    other = Facts(image_size_px=(40, 24))
    with pytest.raises(UsageError, match=r"--image-size: contradicts .*\(40x24, not 24x40\)"):
        standalone.validate(tmp_path / "engine", tmp_path / "w.pth", "bank:x", options, other)


@pytest.mark.parametrize("sides", [("H", "W"), (12, 20)])
def test_a_file_of_another_program_is_built_for_sides_that_differ(
    tmp_path: Path, sides: tuple[str | int, ...]
) -> None:
    onnx = saved(classifier(images=("N", 3, *sides)), tmp_path / "net.onnx")
    facts = Facts(image_size_px=(12, 20), mean=(0.0,), std=(1.0,))
    manifest = standalone.build(onnx, tmp_path / "engine", Build(device="cpu"), facts=facts)
    assert manifest.preprocessing is not None
    assert manifest.preprocessing.size_px == (12, 20)
    assert manifest.signature is not None
    assert manifest.signature.shape == (3, 12, 20)


def test_a_network_that_fails_its_checks_leaves_what_was_there(tmp_path: Path) -> None:
    network = resnet8()
    torch.save(network.state_dict(), tmp_path / "w.pth")
    facts = Facts(image_size_px=8)
    standalone.export(tmp_path / "w.pth", tmp_path / "w.onnx", facts)
    before = (tmp_path / "w.onnx").read_bytes()
    next(network.parameters()).data.fill_(torch.nan)
    torch.save(network.state_dict(), tmp_path / "nan.pth")
    with pytest.raises(StageError, match="not finite"):
        standalone.export(tmp_path / "nan.pth", tmp_path / "w.onnx", facts)
    assert (tmp_path / "w.onnx").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"w.pth", "nan.pth", "w.onnx"}


def test_a_build_that_fails_leaves_no_folder(tmp_path: Path) -> None:
    (tmp_path / "torn.onnx").write_bytes(b"\x08")
    with pytest.raises(StageError):
        standalone.build(tmp_path / "torn.onnx", tmp_path / "engine", Build(device="cpu"))
    assert not (tmp_path / "engine").exists()


def test_a_checkpoint_of_another_program_needs_its_image_size(tmp_path: Path) -> None:
    torch.save({"state_dict": resnet8(channels=3).state_dict()}, tmp_path / "w.pth")
    result = standalone.export(tmp_path / "w.pth", tmp_path / "w.onnx", Facts(image_size_px=16))
    assert (result["arch"], result["classes"], result["image_size_px"]) == ("resnet8", 10, 16)


def test_a_wrong_architecture_is_refused_with_the_one_of_the_file(tmp_path: Path) -> None:
    torch.save(resnet8().state_dict(), tmp_path / "w.pth")
    with pytest.raises(
        UsageError, match=r"--arch: contradicts .* those of resnet8\); leave it out"
    ):
        standalone.export(
            tmp_path / "w.pth", tmp_path / "w.onnx", Facts(arch="resnet20", image_size_px=8)
        )
    assert not (tmp_path / "w.onnx").exists()


def test_an_architecture_that_nothing_fits_is_refused_with_what_differs(tmp_path: Path) -> None:
    odd = resnet8().state_dict() | {"odd.weight": torch.ones(3, 3)}
    torch.save(odd, tmp_path / "w.pth")
    with pytest.raises(StageError, match=r"--student: weights do not fit resnet20"):
        standalone.export(
            tmp_path / "w.pth", tmp_path / "w.onnx", Facts(arch="resnet20", image_size_px=8)
        )


def test_an_architecture_that_contradicts_the_card_is_refused(tmp_path: Path) -> None:
    weights_file(tmp_path / "w.safetensors")
    with pytest.raises(UsageError, match=r"--arch: contradicts the card .*resnet14, not resnet8"):
        standalone.export(
            tmp_path / "w.safetensors", tmp_path / "w.onnx", Facts(arch="resnet14", image_size_px=8)
        )


@pytest.mark.parametrize("option", [{"num_classes": 7}, {"image_size_px": 16}])
def test_an_option_that_contradicts_the_card_is_not_ignored(
    tmp_path: Path, option: dict[str, Any]
) -> None:
    weights_file(tmp_path / "w.safetensors")
    try:
        result = standalone.export(
            tmp_path / "w.safetensors",
            tmp_path / "w.onnx",
            Facts(**option),
        )
    except UsageError:
        return
    assert result["image_size_px"] == option.get("image_size_px", 8)
    assert result["classes"] == option.get("num_classes", 10)


def test_a_network_in_a_users_file_is_exported(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\n\ndef make():\n"
        "    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 10))\n",
        encoding="utf-8",
    )
    layers = torch.nn.Conv2d(1, 2, 3), torch.nn.Flatten(), torch.nn.Linear(72, 10)
    torch.save(torch.nn.Sequential(*layers).state_dict(), tmp_path / "w.pth")
    result = standalone.export(
        tmp_path / "w.pth",
        tmp_path / "w.onnx",
        Facts(arch=f"{tmp_path / 'net.py'}:make", num_classes=10, image_size_px=8),
    )
    assert result["max_logit_difference"] < 1e-3


def test_an_engine_is_validated_as_its_manifest_says_with_any_teacher(
    tmp_path: Path,
) -> None:
    notes: list[str] = []
    rng = np.random.default_rng(0)
    for name in ("ant", "bee"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(10):
            pixels = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{number}.png")
    torch.save(resnet8(channels=3, classes=2).state_dict(), tmp_path / "own.pth")
    facts = Facts(image_size_px=16, mean=(0.3,), std=(0.2,), classes=("ant", "bee"), resize_px=18)
    standalone.export(tmp_path / "own.pth", tmp_path / "own.onnx", facts)
    folder = tmp_path / "engine"
    options = Build(backend="onnxruntime", device="cpu", precision="fp32")
    standalone.build(tmp_path / "own.onnx", folder, options)
    quick = Validate(batch_sizes=(1,), pairs=20, warmup_s=0.01, teacher_engine=False)
    data = f"folder:{tmp_path / 'images'}"
    measured = standalone.validate(folder, tmp_path / "own.pth", data, quick, on_note=notes.append)
    assert "measured on 20 images" in notes
    assert measured.agreement["engine"].value == 1.0
    drop = measured.paired["engine"]
    assert (drop.reference, drop.lost, drop.gained) == ("teacher", 0, 0)
    assert measurement_files.read(folder / "validation.json", records.Measurements) == measured
    files = contents.collect(folder, place="--engine", name=None, report=None)[1]
    assert b"a drop of 0.0000" in files["README.md"]


def test_a_build_that_failed_between_its_files_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    weights_file(tmp_path / "w.safetensors")
    standalone.export(tmp_path / "w.safetensors", tmp_path / "w.onnx")
    options = Build(backend="onnxruntime", device="cpu", precision="fp32")
    with monkeypatch.context() as full:
        full.setattr(shutil, "move", fail)
        with pytest.raises(OSError, match="No space") as caught:
            standalone.build(tmp_path / "w.onnx", tmp_path / "engine", options)
    assert caught.value.filename == str(tmp_path / "engine" / "engine.onnx")
    standalone.build(tmp_path / "w.onnx", tmp_path / "engine", options)
    assert read_folder(tmp_path / "engine", "here")


def _foreign(folder: Path) -> Path:
    """Write an ONNX file that takes normalised images and does not say so."""
    path = folder / "foreign.onnx"
    standalone.export(folder / "own.pth", path, Facts(image_size_px=16, mean=(0.0,), std=(1.0,)))
    model = onnx_io.read(path, "here")
    del model.metadata_props[:]
    onnx_io.save(model, path)
    return path


def test_an_onnx_file_that_does_not_say_what_it_takes_is_built_as_options_say(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(0)
    for name in ("n01", "n02"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(4):
            pixels = rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{number}.png")
    torch.save(resnet8(channels=3, classes=3).state_dict(), tmp_path / "own.pth")
    notes: list[str] = []
    onnx, folder = _foreign(tmp_path), tmp_path / "engine"
    options = Build(backend="onnxruntime", device="cpu", precision="fp32")
    with pytest.raises(UsageError, match=r"--strict: .* does not say what range"):
        standalone.build(onnx, folder, options, is_strict=True)
    facts = Facts(mean=(0.3,), std=(0.2,), classes=("ant", "bee", "cat"), resize_px=18)
    manifest = standalone.build(onnx, folder, options, facts=facts, is_strict=True)
    assert manifest.preprocessing is not None
    assert manifest.preprocessing.mean == (0.3, 0.3, 0.3)
    assert manifest.signature is not None
    assert manifest.signature.classes == ("ant", "bee", "cat")
    confirmed = Facts(mean=(0.0,), std=(1.0,))
    standalone.build(onnx, tmp_path / "as_is", options, facts=confirmed, is_strict=True)
    # The folders have other names, which a file maps to the classes; one class is absent.
    (tmp_path / "map.json").write_text('[["n02", "ant"], ["n01", "bee"], ["n03", "cat"]]')
    quick = Validate(batch_sizes=(1,), pairs=20, warmup_s=0.01, teacher_engine=False)
    data = f"folder:{tmp_path / 'images'}"
    measured = standalone.validate(
        folder,
        tmp_path / "own.pth",
        data,
        quick,
        Facts(mean=(0.3,), std=(0.2,)),
        classes_file=tmp_path / "map.json",
        is_strict=True,
        on_note=notes.append,
    )
    assert measured.accuracy["engine"].n == 8
    assert measured.agreement["engine"].value == 1.0
    text = contents.collect(folder, place="--engine", name=None, report=None)[1]["README.md"]
    assert b"| 1 | " in text  # the latencies
    with pytest.raises(UsageError, match=r"--labels: has other classes than the engine"):
        standalone.validate(
            folder, tmp_path / "own.pth", data, quick, Facts(classes=("x", "y", "z"))
        )
    torch.save(resnet8(channels=3, classes=4).state_dict(), tmp_path / "four.pth")
    with pytest.raises(UsageError, match=r"--teacher: has 4 classes, the engine 3"):
        standalone.validate(folder, tmp_path / "four.pth", data, quick)
    assert any(note.startswith("top-1 on 8 images: teacher 0.") for note in notes)
    assert "images: shorter side to 18 (bilinear), the middle 16 x 16; for the teacher" in (
        " ".join(notes)
    )
    # What the teacher takes is as for the engine, but for one that may normalise images itself.
    for name, words in (("engine", "--std 0.2,0.2,0.2 (those of the engine)"), ("as_is", "0.4914")):
        with pytest.raises(UsageError, match=f"--strict: .*{re.escape(words)}"):
            standalone.validate(tmp_path / name, tmp_path / "own.pth", data, quick, is_strict=True)


def test_what_a_file_of_our_own_has_in_its_graph_cannot_be_said_otherwise(tmp_path: Path) -> None:
    weights_file(tmp_path / "w.safetensors")
    standalone.export(tmp_path / "w.safetensors", tmp_path / "w.onnx")
    with pytest.raises(UsageError, match=r"--mean: contradicts the ONNX file .*export the file"):
        standalone.build(
            tmp_path / "w.onnx", tmp_path / "e", Build(), facts=Facts(mean=(0.9,), std=(0.9,))
        )
    assert not (tmp_path / "e").exists()


def test_strict_refuses_a_file_in_whose_graph_something_was_assumed(tmp_path: Path) -> None:
    torch.save(resnet8(channels=3).state_dict(), tmp_path / "w.pth")
    standalone.export(tmp_path / "w.pth", tmp_path / "w.onnx", Facts(image_size_px=16))
    options = Build(backend="onnxruntime", device="cpu", precision="fp32")
    with pytest.raises(UsageError, match=r"--strict: nobody said what is in the graph .*--mean"):
        standalone.build(tmp_path / "w.onnx", tmp_path / "e", options, is_strict=True)
    standalone.build(tmp_path / "w.onnx", tmp_path / "e", options)
    with pytest.raises(UsageError, match=r"--strict: nobody said .*; build it again"):
        standalone.validate(
            tmp_path / "e", tmp_path / "w.pth", "digits", Validate(), is_strict=True
        )


def test_strict_refuses_to_assume_what_goes_into_the_graph_and_nothing_else(tmp_path: Path) -> None:
    torch.save(resnet8(channels=3).state_dict(), tmp_path / "w.pth")
    notes: list[str] = []
    facts = Facts(image_size_px=16, mean=(0.5, 0.5, 0.5))
    with pytest.raises(UsageError, match=r"goes into the graph .*; give --std$"):
        standalone.export(tmp_path / "w.pth", tmp_path / "w.onnx", facts, is_strict=True)
    facts = facts._replace(std=(0.25, 0.25, 0.25))
    standalone.export(
        tmp_path / "w.pth", tmp_path / "w.onnx", facts, is_strict=True, on_note=notes.append
    )
    assert any("--labels" in note for note in notes)
    written = onnx_io.card_of(onnx_io.read(tmp_path / "w.onnx", "here"))
    assert written is not None
    assert (written.mean, written.std) == (facts.mean, facts.std)
    assert {"mean", "std", "image_size_px"}.isdisjoint(written.assumed)


def test_statistics_are_those_of_the_architecture_whatever_the_number_of_classes(
    tmp_path: Path,
) -> None:
    for classes in (5, 10, 200):
        torch.save(resnet8(channels=3, classes=classes).state_dict(), tmp_path / "w.pth")
        notes: list[str] = []
        standalone.export(tmp_path / "w.pth", tmp_path / "w.onnx", on_note=notes.append)
        written = onnx_io.card_of(onnx_io.read(tmp_path / "w.onnx", "here"))
        assert written is not None
        assert written.mean == (0.4914, 0.4822, 0.4465)
        assert any("assumed" in note and "--mean 0.4914" in note for note in notes)


def test_an_engine_for_other_images_than_digits_asks_for_its_data(tmp_path: Path) -> None:
    teacher = weights_file(
        tmp_path / "w.safetensors", channels=3, image_size_px=16, mean=(0.5,) * 3, std=(0.5,) * 3
    )
    standalone.export(teacher, tmp_path / "w.onnx")
    standalone.build(
        tmp_path / "w.onnx",
        tmp_path / "w",
        Build(backend="onnxruntime", device="cpu", precision="fp32"),
    )
    with pytest.raises(UsageError, match=r"--data: is digits.*takes 3 x 16 x 16"):
        standalone.validate(tmp_path / "w", teacher, "digits", Validate())
