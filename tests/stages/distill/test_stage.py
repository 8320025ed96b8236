"""The distill stage: what it may reach, what it leaves, and what it refuses."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch
from PIL import Image

from models.generator import Generator
from pipeline.cache.digests import DigestCache, code_digests
from pipeline.checkpoint import Checkpoints
from pipeline.errors import StageError, UndeclaredAccess
from pipeline.gates.real_images import RealImages
from pipeline.stage import Stage
from stages import image_bank
from stages.distill import priors
from stages.distill import stage as distill_stage
from stages.distill.distributed import launch
from stages.distill.distributed.group import Group
from stages.distill.trainer import DistillTrainer
from stages.networks import card as cards
from stages.teacher.trainer import TeacherTrainer
from stages.training.device import Compute
from tests.stages.tiny import TinyRun, card, context, own_notes, run_stages, settings

BARE = """
from torch import nn

def make():
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)
    )
"""
GROUP_NORM = """
from torch import nn

def make():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, 2, 1), nn.GroupNorm(4, 32), nn.ReLU(),
        nn.Flatten(), nn.Linear(512, 10)
    )
"""


def _stage(tiny_run: TinyRun) -> Stage:
    return next(stage for stage in tiny_run.stages if stage.name == "distill")


def test_its_declaration_names_the_teachers_weights_and_no_data(tiny: TinyRun) -> None:
    stage = _stage(tiny)
    assert stage.inputs == ("teacher/weights",)
    assert stage.externals == {}
    assert not [name for name in stage.settings if name.partition(".")[0] == "data"]
    assert "scikit-learn" not in stage.packages


def test_no_module_that_it_imports_is_one_of_data(tiny: TinyRun) -> None:
    stage = _stage(tiny)
    closure = code_digests([stage.run.partition(":")[0], *stage.code], DigestCache())
    assert "stages.distill.trainer" in closure
    assert not [name for name in closure if name.startswith("stages.data")]


@pytest.mark.parametrize("name", ["data", "teacher", "validate"])
def test_settings_that_it_does_not_declare_raise(tiny: TinyRun, tmp_path: Path, name: str) -> None:
    ctx, _ = context(_stage(tiny), tiny.settings, {}, tmp_path)
    with pytest.raises(UndeclaredAccess, match=rf"setting .*\({name}\)"):
        getattr(ctx.settings, name)


def test_data_cannot_be_asked_for_as_input_external_or_output(
    tiny: TinyRun, tmp_path: Path
) -> None:
    ctx, _ = context(_stage(tiny), tiny.settings, {}, tmp_path)
    assert ctx.external("data") is None
    with pytest.raises(UndeclaredAccess, match="input"):
        ctx.input("data")
    with pytest.raises(UndeclaredAccess, match="output"):
        ctx.output("data")


AUDITED = """
import atexit, json, sys

opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)

def write():
    json.dump({"opened": opened, "modules": sorted(sys.modules)}, open(sys.argv[1], "w"))

atexit.register(write)
from pipeline.cli.main import main
main(sys.argv[2:])
"""


def test_a_process_that_distils_opens_no_data_set_and_imports_no_sklearn(
    tiny: TinyRun, tmp_path: Path
) -> None:
    (tmp_path / "pipeline.toml").touch()
    report, weights = tmp_path / "report.json", tiny.path("teacher/weights")
    sets = ["teacher.arch=resnet8", f"teacher.weights={weights}", "distill.rounds=40"]
    sets += ["distill.batch_size=32", "distill.generator_width=16", "distill.bank_size=32"]
    sets += ["distill.generator_learning_rate=0.01"]
    run_stages(settings({"teacher": {"weights": str(weights), "epochs": 40}}), tmp_path, count=1)
    command = [sys.executable, "-c", AUDITED, str(report), "distill", "--json"]
    command += [word for setting in sets for word in ("--set", setting)]
    command += ["--config", str(tmp_path / "pipeline.toml")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    statuses = {e["stage"]: e["status"] for e in events if e["kind"] == "stage_done"}
    assert statuses == {"teacher": "hit", "distill": "ran"}
    seen = json.loads(report.read_text(encoding="utf-8"))
    assert any("teacher.safetensors" in path for path in seen["opened"])
    files = [Path(path) for path in seen["opened"]]
    assert not [p for p in files if "sklearn" in p.parts or p.suffix in {".gz", ".csv"}]
    heavy = [m for m in seen["modules"] if m.partition(".")[0] in {"sklearn", "torchvision"}]
    assert not heavy
    # These only describe sources, orders of classes and what in a folder counts.
    light = {"stages.data.datasets", "stages.data.classes", "stages.data.tree"}
    of_data = {m for m in seen["modules"] if m.startswith("stages.data.")}
    assert of_data <= light


def test_it_leaves_a_student_of_the_teachers_classes(tiny: TinyRun) -> None:
    described = card(arch=tiny.settings.student.arch, real_images=RealImages())
    assert cards.read(tiny.path("distill/student")) == described


def test_both_generators_can_be_built_again_from_their_files(tiny: TinyRun) -> None:
    for output in ("generator", "ema_generator"):
        path = tiny.path(f"distill/{output}")
        with safetensors.safe_open(path, "pt") as file:
            arguments = json.loads(file.metadata()["madpipe.generator"])
        generator = Generator(**arguments)
        generator.load_state_dict(safetensors.torch.load_file(path))
        assert generator(torch.randn(2, 100)).shape == (2, 1, 8, 8)


def test_the_bank_holds_as_many_images_as_asked_for(tiny: TinyRun) -> None:
    with np.load(tiny.path("distill/bank")) as archive:
        x_NHWC = archive["x"]
    assert x_NHWC.shape == (32, 8, 8, 1)
    assert x_NHWC.dtype == np.uint8
    assert len(np.unique(x_NHWC, axis=0)) > 8


def test_the_picture_opens(tiny: TinyRun) -> None:
    with Image.open(tiny.path("distill/picture")) as image:
        image.load()
        assert image.format == "PNG"


def _distil(teacher: Path, folder: Path, **options: Any) -> list[str]:
    """Run the stage's own function on a teacher's file; return the notes that are its own."""
    chosen = settings({"distill": options})
    stage = _stage(TinyRun(chosen, _declared(chosen, folder), None, []))  # type: ignore[arg-type]
    ctx, emitted = context(stage, chosen, {"teacher/weights": teacher}, folder)
    distill_stage.run(ctx)
    return own_notes(emitted)


def _declared(chosen: Any, root: Path) -> tuple[Stage, ...]:
    from stages.catalog import declare

    return declare(chosen, root)


@pytest.mark.parametrize(
    "options", [{"method": "abm"}, {"loss": "kl", "temperature": 4.0}, {"precision": "bf16"}]
)
def test_every_choice_runs_and_gives_the_same_bytes_again(
    tiny: TinyRun, tmp_path: Path, options: dict[str, Any]
) -> None:
    teacher = tiny.path("teacher/weights")
    for name in ("one", "two"):
        assert _distil(teacher, tmp_path / name, **options) == []
    files = ("student.safetensors", "generator.safetensors", "bank.npz", "samples.png")
    for file in files:
        one, two = (tmp_path / name / "out" / file for name in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()


def test_networks_that_auto_cannot_compile_are_noted(
    tiny: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Compute, "why_eager", lambda _, mode="auto": f"{mode} lacks a compiler")
    assert _distil(tiny.path("teacher/weights"), tmp_path) == ["auto lacks a compiler"]
    noted = run_stages(settings({"teacher": {"epochs": 1}}), tmp_path, count=1)
    assert noted.notes() == ["auto lacks a compiler"]


@pytest.mark.parametrize(
    ("step", "place"),
    [
        ((DistillTrainer, "train_round"), "distill.batch_size"),
        ((TeacherTrainer, "train_step"), "teacher.batch_size"),
    ],
)
def test_a_gpu_whose_memory_is_too_small_is_an_error_that_names_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: tuple[type, str], place: str
) -> None:
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    monkeypatch.setattr(*step, mock.Mock(side_effect=error))
    with pytest.raises(StageError, match=f"{place}: the GPU's memory is too small .*; lower it"):
        run_stages(settings({"teacher": {"epochs": 1}}), tmp_path, count=2)


def test_a_checkpoint_is_not_kept_where_a_process_was_lost(
    tiny: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost() -> None:
        raise StageError("distill.processes", "process 1 of 2 was lost", "start again")

    monkeypatch.setattr(launch, "Group", lambda: Group(check=lost))
    monkeypatch.setattr(Checkpoints, "keep", lambda _, write: write(tmp_path / "state"))
    with pytest.raises(StageError, match="was lost"):
        _distil(tiny.path("teacher/weights"), tmp_path)


@pytest.mark.parametrize("network", [BARE, GROUP_NORM], ids=["bare", "group norm"])
def test_a_teacher_without_batch_norm_is_noted_and_works(tmp_path: Path, network: str) -> None:
    (tmp_path / "net.py").write_text(network, encoding="utf-8")
    chosen = settings(
        {
            "teacher": {"arch": "net.py:make", "epochs": 2},
            "distill": {
                "feature_weight": 0.1,
                "generator_scales": "sum",
                "enlarge": 2,
            },
        }
    )
    tiny_run = run_stages(chosen, tmp_path, count=2)
    assert tiny_run.notes() == [
        (
            "the teacher has no BatchNorm2d layers with running statistics to match: instead the "
            "student also learns from images of structured noise, as bright on average and as "
            "varied as the teacher's mean and std say (distill.noise_batches = "
            f"{priors.NOISE_BATCHES}); its generator has feature_weight"
        ),
    ]
    assert tiny_run.path("distill/student").is_file()
    with safetensors.safe_open(tiny_run.path("distill/generator"), "pt") as file:
        generator = json.loads(file.metadata()["madpipe.generator"])
    assert (generator["scales"], generator["enlarge"]) == ("sum", 2)
    assert image_bank.load_array(tiny_run.path("distill/bank"), "", remedy="").shape[1:3] == (8, 8)


def test_that_later_rounds_take_longer_is_noted(tiny: TinyRun, tmp_path: Path) -> None:
    notes = _distil(tiny.path("teacher/weights"), tmp_path, rounds=4, enlarge=2, small_rounds=0.5)
    assert notes[0] == (
        "the first 2 rounds are of images of 4, all others of 8, and take longer "
        "(distill.small_rounds)"
    )


def test_losses_that_are_not_finite_stop_it_and_name_the_setting(
    tiny: TinyRun, tmp_path: Path
) -> None:
    with pytest.raises(StageError, match=r"not finite.*distill\.student_learning_rate"):
        _distil(tiny.path("teacher/weights"), tmp_path, student_learning_rate=1e30)


def test_a_teachers_file_without_a_card_is_refused(tmp_path: Path) -> None:
    bare = tmp_path / "teacher.safetensors"
    safetensors.torch.save_file({"x": torch.zeros(1)}, bare)
    with pytest.raises(StageError, match="carries no card"):
        _distil(bare, tmp_path)
