"""A project opens settings, stages and working folder together, and judges what is stored."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from pipeline.errors import ConfigError, SettingsFault, StoreError, UsageError
from pipeline.project import Project, home_of
from pipeline.run_pipeline import run_pipeline
from pipeline.settings import Settings
from pipeline.stage import External, Stage

Open = Callable[..., Project]


def run(project: Project) -> int:
    return run_pipeline(project, ["all"], force=(), sinks=[], command="run all", inconclusive=4)


def test_working_folder_lies_beside_the_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MADPIPE_HOME", raising=False)
    assert home_of(tmp_path / "pipeline.toml") == tmp_path / ".madpipe"
    monkeypatch.chdir(tmp_path)
    assert home_of(Path("pipeline.toml")) == tmp_path / ".madpipe"


def test_working_folder_can_be_named_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MADPIPE_HOME", str(tmp_path / "elsewhere"))
    assert home_of(tmp_path / "pipeline.toml") == tmp_path / "elsewhere"


@pytest.mark.parametrize("config", ["", ".", "folder"])
def test_a_folder_in_the_place_of_the_settings_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: str
) -> None:
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"^--config: is a folder, not a file of settings"):
        home_of(Path(config))


def test_opening_and_planning_write_nothing(project: Open) -> None:
    opened = project()
    opened.plan(["all"])
    assert not opened.store.home.exists()


def test_plan_of_one_target_has_all_that_it_reads(project: Open) -> None:
    opened = project()
    assert [item.stage.name for item in opened.plan(["validate"])] == ["distill", "validate"]
    assert [item.stage.name for item in opened.plan(["distill"])] == ["distill"]


def test_unknown_target_suggests_the_nearest(project: Open) -> None:
    with pytest.raises(UsageError) as caught:
        project().plan(["validat"])
    assert str(caught.value) == (
        "command line: no such stage, did you mean 'validate'? (validat); "
        "name one of distill, validate, all"
    )


def test_judging_without_measurements_names_the_command_to_run(project: Open) -> None:
    opened = project()
    assert opened.measurements() is None
    with pytest.raises(StoreError) as caught:
        opened.verdicts()
    assert str(caught.value) == (
        f"{opened.store.home}: holds no measurements (none stored); madpipe run validate"
    )
    opened.as_smoke().store.home.mkdir(parents=True)
    with pytest.raises(StoreError, match=r"\(none stored; a smoke run judges nothing\)"):
        opened.verdicts()


def test_stored_measurements_are_judged_by_the_gates_of_now(project: Open) -> None:
    run(project())
    strict = project("gates.speedup.min=50").verdicts()
    assert [(verdict.name, verdict.verdict) for verdict in strict if verdict.name == "speedup"] == [
        ("speedup", "fail")
    ]
    assert {verdict.verdict for verdict in project().verdicts()} == {"pass"}


def test_damaged_measurements_are_not_judged(project: Open) -> None:
    opened = project()
    run(opened)
    entry = opened.store.newest("validate")
    assert entry is not None
    entry.output("measurements").chmod(0o644)
    entry.output("measurements").write_text("{}", encoding="utf-8")
    with pytest.raises(StoreError, match=r"is damaged .*has other bytes than were stored"):
        opened.verdicts()


def test_newer_layout_is_refused_on_opening(project: Open, tmp_path: Path) -> None:
    (tmp_path / ".madpipe").mkdir()
    (tmp_path / ".madpipe" / "layout.json").write_text('{"layout": 2}', encoding="utf-8")
    with pytest.raises(StoreError, match=r"newer madpipe \(layout 2, this one knows 1\)"):
        project()


def test_missing_outside_file_is_a_fault_with_its_line(project: Open, tmp_path: Path) -> None:
    config = tmp_path / "pipeline.toml"
    config.write_text("[data]\n\nroot = 'gone'\n", encoding="utf-8")
    gone = External(path=tmp_path / "gone", needed_by="data.root")
    stage = Stage(name="make", run="fakestages:distill", outputs={}, externals={"data": gone})
    project()
    with pytest.raises(ConfigError) as caught:
        Project.open(config, (), lambda _settings, _root: (stage,)).plan(["all"])
    assert str(caught.value) == (
        f"{config}:3: data.root: no such file or folder ({tmp_path / 'gone'}); "
        "put it there or correct the path"
    )
    with pytest.raises(ConfigError, match=r"^--set data.root: no such file or folder"):
        Project.open(config, ("data.root=none",), lambda _settings, _root: (stage,)).plan(["all"])


def test_faults_of_the_declaration_are_sorted_by_line(tmp_path: Path) -> None:
    config = tmp_path / "pipeline.toml"
    config.write_text("[student]\narch = 'x'\n[teacher]\narch = 'y'\n", encoding="utf-8")

    def declare(_settings: Settings, _root: Path) -> tuple[Stage, ...]:
        raise SettingsFault(
            [(("teacher", "arch"), "wrong (y)", "fix"), (("student", "arch"), "wrong (x)", "fix")]
        )

    with pytest.raises(ConfigError) as caught:
        Project.open(config, (), declare)
    assert caught.value.faults == (
        f"{config}:2: student.arch: wrong (x); fix",
        f"{config}:4: teacher.arch: wrong (y); fix",
    )


def _fetching(root: Path, fetched: tuple[str, ...]) -> tuple[Stage, ...]:
    images = External(
        path=root / "images", needed_by="data.root", fetch="fakestages:fetch", fetched=fetched
    )
    return (Stage(name="make", run="fakestages:run", outputs={}, externals={"data": images}),)


def test_an_absent_folder_is_fetched_once(tmp_path: Path, code: Callable[..., None]) -> None:
    code(
        "def fetch(settings, path):\n"
        "    (path / 'part').mkdir(parents=True)\n"
        "    (path / 'part' / str(settings.seed)).touch()\n"
    )
    (tmp_path / "pipeline.toml").write_text("seed = 3", encoding="utf-8")
    opened = Project.open(
        tmp_path / "pipeline.toml", (), lambda _settings, root: _fetching(root, ("none", "part"))
    )
    for _ in range(2):  # the second would raise: the folder is there
        opened.fetch(["all"])
    assert (tmp_path / "images" / "part" / "3").exists()


def test_message_for_a_missing_file_has_the_remedy_of_its_declaration(tmp_path: Path) -> None:
    gone = External(path=tmp_path / "gone", needed_by="data.root", remedy="unpack it there")
    stage = Stage(name="make", run="fakestages:run", outputs={}, externals={"data": gone})
    (tmp_path / "pipeline.toml").write_text("", encoding="utf-8")
    opened = Project.open(tmp_path / "pipeline.toml", (), lambda _settings, _root: (stage,))
    with pytest.raises(ConfigError, match=r"no such file or folder \(.*gone\); unpack it there"):
        opened.plan(["all"])


def test_what_was_fetched_is_declared_anew(tmp_path: Path, code: Callable[..., None]) -> None:
    code("def fetch(settings, path):\n    path.write_text(str(settings.seed))\n")
    (tmp_path / "pipeline.toml").write_text("seed = 3", encoding="utf-8")

    def complete(settings: Settings, root: Path) -> Settings:
        path = root / "weights"
        arch = f"resnet{path.read_text()}" if path.is_file() else "resnet14"
        return msgspec.structs.replace(
            settings, teacher=msgspec.structs.replace(settings.teacher, arch=arch)
        )

    def declare(settings: Settings, root: Path) -> tuple[Stage, ...]:
        weights = External(
            path=root / "weights", needed_by="teacher.weights", fetch="fakestages:fetch"
        )
        values = {"arch": settings.teacher.arch}
        return (
            Stage(
                name="make",
                run="fakestages:run",
                outputs={},
                externals={"weights": weights},
                values=values,
            ),
        )

    opened = Project.open(tmp_path / "pipeline.toml", (), declare, complete).as_smoke()
    assert opened.stages[0].values == {"arch": "resnet14"}
    fetched = opened.fetch(["all"])
    assert fetched.stages[0].values == {"arch": "resnet3"}
    assert fetched.settings.teacher.arch == "resnet3"
    assert fetched.store.home == opened.store.home
    assert fetched.fetch(["all"]) is fetched
    (planned,) = fetched.plan(["all"])
    assert planned.key_document is not None
    assert planned.key_document["values"] == {"arch": "resnet3"}


def test_a_download_of_what_is_not_there_is_a_fault_with_its_line(
    tmp_path: Path, code: Callable[..., None]
) -> None:
    code(
        "from pipeline.errors import SettingsFault\n"
        "def fetch(settings, path):\n"
        "    raise SettingsFault([(('teacher', 'weights'), 'is nowhere (x)', 'name another')])\n"
    )
    config = tmp_path / "pipeline.toml"
    config.write_text("[teacher]\nweights = 'x'\n", encoding="utf-8")
    weights = External(path=tmp_path / "x", needed_by="teacher.weights", fetch="fakestages:fetch")
    stage = Stage(name="make", run="fakestages:run", outputs={}, externals={"weights": weights})
    opened = Project.open(config, (), lambda _settings, _root: (stage,))
    with pytest.raises(ConfigError) as caught:
        opened.fetch(["all"])
    assert str(caught.value) == f"{config}:2: teacher.weights: is nowhere (x); name another"


def test_completed_settings_keep_the_rules(tmp_path: Path) -> None:
    config = tmp_path / "pipeline.toml"
    config.write_text("[data]\nimage_size_px = 64\n", encoding="utf-8")

    def complete(settings: Settings, _root: Path) -> Settings:
        data = msgspec.structs.replace(settings.data, resize_px=32)
        return msgspec.structs.replace(settings, data=data)

    with pytest.raises(ConfigError, match=r"pipeline.toml:1: data.resize_px: is less than"):
        Project.open(config, (), lambda _settings, _root: (), complete)
