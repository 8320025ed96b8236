"""plan, status and why show what is stored and what would run, and run nothing."""

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from pipeline.errors import StageError
from pipeline.project import Project
from pipeline.run_pipeline import run_pipeline
from pipeline.screen import formatting
from pipeline.settings import Settings
from pipeline.stage import Stage
from stages import planned_memory
from stages.planned_memory import PlannedMemory

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _config(tmp_path: Path) -> None:
    (tmp_path / "pipeline.toml").touch()


def test_plan_of_a_new_project_runs_the_first_stage_and_waits(
    madpipe: Call, tmp_path: Path
) -> None:
    code, out, err = madpipe("plan")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "teacher   run     never run",
        "distill   wait    waits for teacher",
        "export    wait    waits for distill",
        "build     wait    waits for distill, export",
        "validate  wait    waits for build, distill, export, teacher",
        "madpipe   takes   unknown time and memory; madpipe run all --smoke measures them",
    ]
    assert not (tmp_path / ".madpipe").exists()


def test_plan_as_json_has_a_record_for_each_stage(madpipe: Call) -> None:
    records = json.loads(madpipe("plan", "--json")[1])
    fields = {"name", "action", "reasons", "key", "step_memory"}
    fields |= {"expected_seconds", "expected_memory_bytes"}
    assert [set(record) for record in records] == [fields] * 5
    assert (records[0]["action"], len(records[0]["key"])) == ("run", 64)
    assert (records[1]["action"], records[1]["key"]) == ("wait", None)


def test_a_plan_runs_no_file_of_the_users(madpipe: Call, tmp_path: Path) -> None:
    code = "import pathlib\npathlib.Path('canary').touch()\n"
    (tmp_path / "net.py").write_text(code, encoding="utf-8")
    options = ("--set", "student.arch=net.py:make", "--set", "data.image_size_px=224")
    ended, out, _ = madpipe("plan", *options)
    assert ended == 0
    assert "distill   memory  unknown: a plan runs no code of yours (" in out
    assert not (tmp_path / "canary").exists()
    madpipe("plan", "--memory", *options)
    assert (tmp_path / "canary").exists()


def test_memory_of_training_steps_is_planned_where_it_is_asked_for_or_may_be_large(
    madpipe: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = PlannedMemory(
        images=128, image_size_px=224, step_bytes=10 * 2**30, available_bytes=2**34,
        bound_bytes=2**33, fitting_images=64, fitting_image_size_px=162, setting="a = 2",
    )  # fmt: skip

    def of_stage(stage: Stage, settings: Settings) -> PlannedMemory:
        if stage.name == "teacher":
            place = "teacher.arch"
            raise StageError(place, "has no estimate", "measure it")
        return msgspec.structs.replace(planned, images=settings.distill.batch_size)

    monkeypatch.setattr(planned_memory, "of_stage", of_stage)
    teacher, distill = madpipe("plan", "--memory")[1].splitlines()[5:7]
    assert teacher == "teacher   memory  unknown: teacher.arch: has no estimate; measure it"
    assert distill == (
        "distill   memory  about 10.00 GiB in steps of 128 images of 224 px (16.00 GiB are here); "
        "8.00 GiB hold 64 of them, or 128 of up to 162 px: set a = 2"
    )
    large = ("--set", "data.image_size_px=96", "--set", "distill.batch_size=64")
    assert len(madpipe("plan", *large)[1].splitlines()) == 8
    assert len(madpipe("plan", "--no-memory", *large)[1].splitlines()) == 6
    records = json.loads(madpipe("plan", "--json", "--memory")[1])
    assert [record["step_memory"] and len(record["step_memory"]) for record in records] == [
        1, 8, None, None, None,
    ]  # fmt: skip
    small = {"step_bytes": 2**30, "fitting_images": 0, "setting": None}
    text = formatting.step_memory(msgspec.structs.asdict(planned) | small)
    assert text == "about 1.00 GiB in steps of 128 images of 224 px; 8.00 GiB hold none of them"


def test_key_of_a_plan_follows_the_settings_of_the_stage_alone(madpipe: Call) -> None:
    def key(*overrides: str) -> str:
        arguments = [part for override in overrides for part in ("--set", override)]
        return str(json.loads(madpipe("plan", "--json", *arguments)[1])[0]["key"])

    assert key("teacher.epochs=3") != key()
    assert key("distill.rounds=3", "gates.speedup.min=3", "run.lock_wait_s=0") == key()


def test_status_lists_every_stage(
    madpipe: Call, tmp_path: Path, project: Callable[..., Project]
) -> None:
    run_pipeline(project(), ["all"], force=(), sinks=[], command="run all", inconclusive=4)
    code, out, _ = madpipe("status")
    lines = out.splitlines()
    assert (code, lines[0]) == (0, f"working folder: {tmp_path / '.madpipe'}")
    assert lines[1] == "teacher   nothing stored"
    assert lines[2].startswith("distill   20")
    assert lines[2].endswith("params 77 850")
    document = json.loads(madpipe("status", "--json")[1])
    assert document["home"] == str(tmp_path / ".madpipe")
    assert [stage["stored"] for stage in document["stages"]] == [False, True, False, False, True]


def test_status_names_a_run_that_was_interrupted(
    madpipe: Call, tmp_path: Path, project: Callable[..., Project]
) -> None:
    project()
    checkpoint = tmp_path / ".madpipe/work/distill/0123/checkpoint/state"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    line = "distill   an unfinished run, which goes on from its checkpoint"
    assert madpipe("status")[1].splitlines()[2] == line
    stages = json.loads(madpipe("status", "--json")[1])["stages"]
    assert [stage["unfinished"] for stage in stages] == [False, True, False, False, False]


def test_why_shows_what_differs_from_the_newest_run(
    madpipe: Call, project: Callable[..., Project]
) -> None:
    assert madpipe("why", "teacher")[:2] == (0, "teacher: never run\n")
    run_pipeline(project(), ["all"], force=(), sinks=[], command="run all", inconclusive=4)
    assert madpipe("why", "distill")[1] == "distill: waits for teacher\n"
    record = json.loads(madpipe("why", "teacher", "--json")[1])
    assert (record["name"], record["action"], record["reasons"]) == (
        "teacher",
        "run",
        ["never run"],
    )


def test_configs_of_other_folders_have_their_own_working_folder(
    madpipe: Call, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "my.toml").touch()
    out = madpipe("status", "--config", "other/my.toml")[1]
    assert out.splitlines()[0] == f"working folder: {tmp_path / 'other' / '.madpipe'}"


def test_the_image_size_of_a_run_is_an_option(madpipe: Call, tmp_path: Path) -> None:
    (tmp_path / "pipeline.toml").touch()
    code, _, err = madpipe("run", "teacher", "--image-size", "8x7")
    assert code == 2
    assert err.startswith("--image-size: is outside 8 to 1024 pixels (8x7)")
    code, _, err = madpipe("run", "teacher", "--image-size", "8x12")
    assert code == 1
    assert "data: images are (8, 8, 1), the settings say (8, 12, 1); correct data.image_size" in err
