"""The declarations of the five stages."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipeline.cache.digests import DigestCache, code_digests
from pipeline.cache.keys import key_document
from pipeline.errors import SettingsFault
from pipeline.settings import Settings
from pipeline.stage import Stage
from stages.catalog import declare
from stages.engines.base import BACKENDS

ROOT = Path("/project")
LISTED_AND_READ = {
    f"stages.data.{name}" for name in ("datasets", "decode", "files", "pixels", "tree")
}
"""Modules of files of images, which calibration needs and which know no data set."""


def _stages(**tables: Any) -> dict[str, Stage]:
    chosen = msgspec.convert(tables, Settings)
    return {stage.name: stage for stage in declare(chosen, ROOT)}


def test_there_are_five_stages_in_their_order() -> None:
    assert list(_stages()) == ["teacher", "distill", "export", "build", "validate"]


def test_every_input_is_an_output_of_an_earlier_stage() -> None:
    known: set[str] = set()
    for name, stage in _stages().items():
        assert set(stage.inputs) <= known
        known |= {f"{name}/{output}" for output in stage.outputs}


def test_every_slice_is_a_setting() -> None:
    for stage in _stages(teacher={"weights": "w.pth"}).values():
        for dotted in stage.settings:
            value: object = Settings()
            for name in dotted.split("."):
                value = getattr(value, name)


@pytest.mark.parametrize(
    "tables",
    [
        {},
        {"data": {"source": "cifar10", "download": True}, "distill": {"monitor": "held-out"}},
        {"teacher": {"weights": "t.pth"}, "validate": {"images": "bank"}},
        {"bank": {"keep": False}},
    ],
)
def test_every_module_and_function_that_a_declaration_names_exists(tables: dict[str, Any]) -> None:
    for stage in _stages(**tables).values():
        fetches = [external.fetch for external in stage.externals.values() if external.fetch]
        for call in (stage.run, *fetches):
            module, _, function = call.partition(":")
            assert callable(getattr(importlib.import_module(module), function))
        assert all(importlib.util.find_spec(module) for module in stage.code)


def test_how_to_run_and_the_gates_are_part_of_no_key() -> None:
    slices = {key.partition(".")[0] for stage in _stages().values() for key in stage.settings}
    assert slices == set(Settings.__struct_fields__) - {"run", "track", "cache", "gates", "compare"}


def test_without_labelled_images_no_stage_reaches_data() -> None:
    stages = _stages(
        data={"source": "cifar10"}, teacher={"weights": "t.pth"}, validate={"images": "bank"}
    )
    assert not [name for name, stage in stages.items() if "data" in stage.settings]
    assert not [name for name, stage in stages.items() if "data" in stage.externals]
    assert stages["teacher"].run == "stages.teacher.from_weights:run"
    assert "distill/bank" in stages["validate"].inputs


def test_stages_that_need_a_bank_that_is_not_kept_read_the_generators_and_what_draws() -> None:
    stages = _stages(
        teacher={"weights": "t.pth"},
        validate={"images": "bank"},
        build={"int8": "rounded"},
        bank={"keep": False},
    )
    assert "picture" not in stages["distill"].outputs
    generators = {"distill/generator", "distill/ema_generator", "distill/bank"}
    for name in ("export", "build", "validate"):
        assert generators <= set(stages[name].inputs)
        assert "stages.drawn_bank" in stages[name].code
        assert "torch" in stages[name].packages
    kept = _stages(build={"int8": "rounded"})
    assert "torch" not in kept["build"].packages
    assert "distill/generator" not in kept["export"].inputs


def test_distill_reaches_the_teachers_weights_and_no_data() -> None:
    stage = _stages(data={"source": "cifar10"})["distill"]
    assert stage.inputs == ("teacher/weights",)
    assert set(stage.settings) == {"seed", "student.arch", "distill", "bank"}
    assert stage.externals == {}


@pytest.mark.parametrize("arch", ["resnet14", "torchvision:resnet18", "net.py:make"])
def test_only_teacher_and_validate_have_modules_of_data_in_their_code(arch: str) -> None:
    stages = _stages(teacher={"arch": arch}, student={"arch": arch})
    with_data = {
        name
        for name, stage in stages.items()
        if any(
            module.startswith("stages.data.") and module not in LISTED_AND_READ
            for module in code_digests([stage.run.partition(":")[0], *stage.code], DigestCache())
        )
    }
    assert with_data == {"teacher", "validate"}


def test_weights_from_a_file_leave_seed_and_training_out_of_the_teachers_key() -> None:
    stage = _stages(teacher={"weights": "w.pth"})["teacher"]
    assert "seed" not in stage.settings
    own = [name for name in stage.settings if name.startswith("teacher")]
    assert own == ["teacher.arch", "teacher.strict", "teacher.output", "teacher.input"]
    assert stage.externals["teacher_weights"].path == ROOT / "w.pth"
    assert stage.externals["teacher_weights"].needed_by == "teacher.weights"


def test_a_users_file_is_an_external_of_every_stage_that_builds_its_network() -> None:
    stages = _stages(student={"arch": "nets/mine.py:make"})
    names = [name for name, stage in stages.items() if "student_code" in stage.externals]
    assert names == ["distill", "export", "validate"]
    assert stages["export"].externals["student_code"].path == ROOT / "nets/mine.py"


def test_what_a_users_file_imports_from_beside_it_is_part_of_the_key(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("from sizes import WIDTH\n", encoding="utf-8")
    chosen = msgspec.convert({"student": {"arch": "net.py:make"}}, Settings)
    documents = []
    for width in (1, 2):
        (tmp_path / "sizes.py").write_text(f"WIDTH = {width}\n", encoding="utf-8")
        stage = declare(chosen, tmp_path)[1]
        documents.append(key_document(stage, chosen, {"teacher/weights": "0" * 64}, DigestCache()))
    assert documents[0] != documents[1]


def test_a_source_with_files_is_an_external_of_teacher_and_validate() -> None:
    stages = _stages(data={"source": "folder", "root": "pictures", "image_size_px": 32})
    names = [name for name, stage in stages.items() if "data" in stage.externals]
    assert names == ["teacher", "validate"]
    assert stages["teacher"].externals["data"].path == ROOT / "pictures"


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_the_version_of_a_library_is_part_of_the_keys_of_its_networks(library: str) -> None:
    stages = _stages(student={"arch": f"{library}:resnet18"})
    assert all(library in stages[name].packages for name in ("distill", "export", "validate"))


def test_the_backend_decides_what_build_leaves_and_depends_on() -> None:
    stage = _stages(build={"backend": "tensorrt"})["build"]
    assert stage.outputs["engine"] == "engine.plan"
    assert BACKENDS["tensorrt"].distribution in stage.packages
    assert {"gpu", "driver"} <= set(stage.facts)


def test_every_wrong_architecture_is_reported_at_once() -> None:
    with pytest.raises(SettingsFault) as caught:
        _stages(teacher={"arch": "resnet15"}, student={"arch": "resnett8"})
    keys, wrongs, _ = zip(*caught.value.faults, strict=True)
    assert keys == (("teacher", "arch"), ("student", "arch"))
    assert "did you mean 'resnet8'" in wrongs[1]


@pytest.mark.parametrize("target", ["sm90", "sm98"])
def test_a_target_that_nobody_builds_for_is_a_mistake_in_the_settings(target: str) -> None:
    with pytest.raises(SettingsFault, match=rf"build\.targets: .*\({target}\); name some of sm75"):
        _stages(build={"backend": "tensorrt-rtx", "targets": ["sm89", target]})


def test_declaring_imports_nothing_heavy() -> None:
    script = (
        "import json, sys\nfrom pathlib import Path\nfrom pipeline.settings import Settings\n"
        "from stages.catalog import declare\ndeclare(Settings(), Path())\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    heavy = {
        "torch",
        "torchvision",
        "onnx",
        "onnxruntime",
        "numpy",
        "sklearn",
        "PIL",
        "safetensors",
    }
    assert loaded & heavy == set()


@pytest.mark.parametrize("stage", ["teacher", "validate"])
def test_whether_images_were_downloaded_is_in_no_key(stage: str) -> None:
    slices = _stages()[stage].settings
    assert "data.source" in slices
    assert "data.held_out_limit" in slices
    assert not {"data", "data.download"} & set(slices)


def test_a_folder_is_downloaded_only_where_the_settings_ask_for_it() -> None:
    download = _stages(data={"source": "food101", "download": True})["teacher"].externals["data"]
    assert download.fetch == "stages.data.images:download"
    assert download.fetched == ("food-101/images", "train")
    assert download.remedy == "madpipe run downloads it"
    other = _stages(data={"source": "food101"})["teacher"].externals["data"]
    assert other.fetch is None
    assert "unpack food-101.tar.gz there" in other.remedy
    assert "data.download = true" in other.remedy


@pytest.mark.parametrize("int8", ["auto", "rounded", "trained"])
def test_build_reads_the_generators_only_where_it_may_train(int8: str) -> None:
    for precision, may_train in (("auto", int8 != "rounded"), ("fp32", False)):
        stage = _stages(build={"int8": int8, "precision": precision})["build"]
        assert ("distill/generator" in stage.inputs) == may_train
        assert ("distill/ema_generator" in stage.inputs) == may_train
        assert ("stages.build.int8_training" in stage.code) == may_train
        assert ("torch" in stage.packages) == may_train
        assert not any(name.startswith("teacher/") for name in stage.inputs)


def test_unlabelled_images_are_declared_where_the_settings_name_them_and_are_no_data() -> None:
    stages = _stages(data={"source": "cifar10"}, distill={"images": "photos"})
    distill = stages["distill"]
    assert {name: external.path for name, external in distill.externals.items()} == {
        "images": ROOT / "photos"
    }
    assert distill.inputs == ("teacher/weights",)
    assert set(distill.settings) == {"seed", "student.arch", "distill", "bank"}
    code = code_digests([distill.run.partition(":")[0], *distill.code], DigestCache())
    loaders = {name for name in code if name.startswith("stages.data.")} - LISTED_AND_READ
    assert loaders == {"stages.data.unlabelled"}
    assert "distill/held_back" in stages["build"].inputs
    assert {"distill/held_back", "distill/images"} <= set(stages["validate"].inputs)
    assert "images" not in stages["validate"].externals


def test_without_unlabelled_images_no_stage_names_any() -> None:
    for stage in _stages().values():
        assert not {"distill/held_back", "distill/images"} & set(stage.inputs)
        assert not {"held_back", "images"} & set(stage.outputs)


def test_pictures_are_an_output_of_validate_unless_none_are_wanted() -> None:
    assert "pictures" in _stages()["validate"].outputs
    assert "pictures" not in _stages(validate={"pictures": 0})["validate"].outputs


def test_where_images_lie_is_in_no_key() -> None:
    for source in ("digits", "cifar10"):
        stages = _stages(data={"source": source})
        assert not any("data.root" in stage.settings for stage in stages.values())
    stages = _stages(data={"source": "cifar10", "classes": "order.txt"}, distill={"images": "p"})
    assert stages["teacher"].externals["classes"].is_path
    assert stages["distill"].externals["images"].is_path


def test_labels_outside_the_folder_of_the_data_are_an_external(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "labels.csv").write_text("file,class\n", encoding="utf-8")
    data = {"source": "folder", "image_size_px": 8, "labels": "../labels.csv"}
    chosen = msgspec.convert({"data": data}, Settings)
    stages = {stage.name: stage for stage in declare(chosen, tmp_path)}
    for name in ("teacher", "validate"):
        assert stages[name].externals["labels"].path.resolve() == tmp_path / "labels.csv"


def test_versions_of_all_that_a_stage_computes_with_are_in_its_key() -> None:
    stages = _stages(
        teacher={"arch": "file:onnx", "weights": "t.onnx"},
        build={"backend": "onnxruntime", "precision": "fp32", "device": "cuda-tensorrt"},
    )
    runtime, compiler = "onnxruntime-gpu|onnxruntime", "tensorrt|tensorrt-cu13|tensorrt-cu12"
    for name, packages in {
        "teacher": {"torch", "numpy", "onnx"},
        "distill": {"torch", "numpy", "onnx", "pillow"},
        "export": {"torch", "numpy", "onnx", "onnxscript", "onnx-ir", runtime},
        "build": {"numpy", "onnx", runtime, compiler},
        "validate": {"torch", "onnx", "onnxscript", "onnx-ir", "scipy", runtime, compiler},
    }.items():
        assert packages <= set(stages[name].packages), name
    assert "cpu_features" in stages["validate"].facts
