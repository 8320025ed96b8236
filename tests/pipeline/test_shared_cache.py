"""A run takes from a shared cache what is there and copies to it what it made; it needs neither."""

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import run_records
from pipeline.cache import remote_files
from pipeline.cache.store import Store
from pipeline.errors import StageError
from pipeline.events import Event
from pipeline.project import Project
from pipeline.requirements import Unsupported
from pipeline.run_pipeline import run_pipeline
from pipeline.stage import Stage
from tests.pipeline.cache.s3_server import BUCKET, S3Server

ROOT = Path(__file__).parents[2]
Open = Callable[..., Project]
URL = f"s3://{BUCKET}/shared"
REMOTE = f'cache.remote="{URL}"'
PUSH = "cache.push=true"


def run(opened: Project, *, force: tuple[str, ...] = (), is_smoke: bool = False) -> list[str]:
    """Run all, and return what became of each stage with the notes in between."""
    lines: list[str] = []

    def write(event: Event) -> None:
        if event.kind == "stage_done":
            lines.append(f"{event.stage} {event.fields['status']}")
        elif event.kind == "note" and event.stage:
            lines.append(f"{event.stage}: {event.fields['text']}")

    run_pipeline(
        opened,
        ["all"],
        force=force,
        sinks=[write],
        command="run all",
        inconclusive=4,
        is_smoke=is_smoke,
    )
    return lines


def forget(opened: Project) -> None:
    """Remove the working folder, as on another machine."""
    shutil.rmtree(opened.store.home)


PUSHED = [
    f"distill: copied to the shared cache ({URL})",
    "distill ran",
    f"validate: copied to the shared cache ({URL})",
    "validate ran",
]
BROUGHT = [
    f"distill: taken from the shared cache ({URL})",
    f"validate: taken from the shared cache ({URL})",
    "distill hit",
    "validate hit",
]


def test_what_one_machine_computed_another_takes(s3: S3Server, project: Open) -> None:
    opened = project(REMOTE, PUSH)
    assert run(opened) == PUSHED
    assert len(s3.names("shared/v1/entries/")) == 2
    forget(opened)
    s3.requests.clear()
    assert run(project(REMOTE)) == BROUGHT
    assert {request.split()[0] for request in s3.requests} == {"GET"}
    assert not [request for request in s3.requests if "list-type" in request]
    record = run_records.latest(opened.store)
    assert record is not None
    assert [stage.status for stage in record.stages] == ["hit", "hit"]


def test_what_is_here_asks_nobody(s3: S3Server, project: Open) -> None:
    run(project(REMOTE, PUSH))
    s3.requests.clear()
    opened = project(REMOTE, PUSH)
    assert run(opened) == ["distill hit", "validate hit"]
    opened.plan(["all"])
    assert s3.requests == []


HITS_ONLY = """
import sys
import threading
from pathlib import Path
from pipeline.project import Project
from pipeline.run_pipeline import run_pipeline
from tests.conftest import _declare
opened = Project.open(Path("pipeline.toml"), sys.argv[1:], _declare)
before = set(sys.modules)
run_pipeline(opened, ["all"], force=(), sinks=[], command="run", inconclusive=4)
print({"fsspec", "s3fs", "aiohttp", "botocore", "concurrent.futures"} & set(sys.modules) - before)
"""


def test_a_run_of_hits_imports_no_client(project: Open, tmp_path: Path) -> None:
    run(project())
    done = subprocess.run(
        [sys.executable, "-c", HITS_ONLY, REMOTE, PUSH],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path / 'code'}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "set()\n"


def test_a_key_is_asked_for_once_and_only_where_the_settings_say_so(
    s3: S3Server, project: Open
) -> None:
    opened = project(REMOTE)
    assert run(opened) == ["distill ran", "validate ran"]
    assert len(s3.requests) == 2
    forget(opened)
    s3.requests.clear()
    assert run(project(REMOTE, 'cache.pull="off"')) == ["distill ran", "validate ran"]
    assert s3.requests == []


def test_a_forced_stage_is_computed_and_its_entry_replaced(s3: S3Server, project: Open) -> None:
    opened = project(REMOTE, PUSH)
    run(opened)
    before = s3.names()
    assert run(opened, force=("distill",)) == [*PUSHED[:2], "validate hit"]
    assert s3.names() == before


def test_a_smoke_run_neither_takes_nor_gives(s3: S3Server, project: Open) -> None:
    run(project(REMOTE, PUSH), is_smoke=True)
    assert s3.requests == []


def test_what_another_machine_computed_needs_nothing_of_this_one(
    s3: S3Server, project: Open
) -> None:
    opened = project(REMOTE, PUSH)
    run(opened)
    forget(opened)
    needy = [_needing(stage) for stage in opened.stages]
    lacking = Project(opened.settings, tuple(needy), opened.store, opened.path)
    assert run(lacking) == BROUGHT
    assert s3.names()


def _needing(stage: Stage) -> Stage:
    lack = Unsupported(setting="build.backend", wrong="is not here (x)", remedy="use y")
    return dataclasses.replace(stage, requires=(lack,))


def test_an_unfinished_stage_is_taken_rather_than_gone_on_with(s3: S3Server, project: Open) -> None:
    opened = project(REMOTE, PUSH)
    run(opened)
    key = opened.plan(["distill"])[0].key
    assert key is not None
    forget(opened)
    state = opened.store.work_path("distill", key) / "checkpoint" / "state"
    state.parent.mkdir(parents=True)
    state.write_bytes(b"half way")
    assert opened.plan(["distill"])[0].action == "resume"
    assert run(opened)[0] == BROUGHT[0]
    assert not state.exists()
    assert s3.names()


def test_a_bad_entry_is_reported_once_computed_here_and_replaced(
    s3: S3Server, project: Open
) -> None:
    opened = project(REMOTE, PUSH)
    run(opened)
    forget(opened)
    name = next(name for name in s3.names() if "/entries/distill/" in name)
    s3.write(name, b"{}")
    first, *others = run(opened)
    assert first.startswith(f"distill: s3://{BUCKET}/{name}: is no sound record (")
    assert first.endswith("; the stage is computed here")
    assert others == [*PUSHED[:2], BROUGHT[1], BROUGHT[3]]
    forget(opened)
    assert run(opened) == BROUGHT


@pytest.mark.parametrize("harm", ["credentials", "bucket", "gone", "package"])
def test_a_place_that_fails_is_reported_once_and_the_run_goes_on(
    s3: S3Server, project: Open, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    url, what = URL, "the credentials are wrong"
    if harm == "credentials":
        s3.ask_for_signatures(after=0)
    elif harm == "bucket":
        url, what = "s3://nobucket/shared", "there is no such bucket"
    elif harm == "gone":
        server = S3Server()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.port}")
        server.close()
        what = "cannot be reached"
    else:
        url, what = "gs://bucket", "needs a package that is not installed"
    note, *others = run(project(f'cache.remote="{url}"', PUSH))
    assert note.startswith(f"distill: {url}: {what}")
    assert note.endswith("; the run goes on without the shared cache")
    assert others == ["distill ran", "validate ran"]


def test_where_a_machine_may_only_read_it_goes_on_reading(s3: S3Server, project: Open) -> None:
    opened = project(REMOTE, PUSH)
    run(opened)
    forget(opened)
    for name in s3.names("shared/v1/entries/distill/"):
        s3.call("DELETE", f"/{BUCKET}/{name}")

    def refuse(request: str) -> None:
        if request.startswith("PUT"):
            raise RuntimeError

    s3.on_request = refuse
    note, *others = run(opened)
    assert note.startswith(f"distill: {URL}: ")
    assert note.endswith("; the run copies nothing to the shared cache")
    assert others == ["distill ran", BROUGHT[1], BROUGHT[3]]


def test_a_copy_that_its_client_never_ends_is_given_up(
    s3: S3Server, project: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_files, "_LONGEST_S", 0.5)

    def drop(request: str) -> None:
        if request.startswith("PUT"):
            raise ConnectionAbortedError

    s3.on_request = drop
    note, *others = run(project(REMOTE, PUSH))
    assert note.startswith(f"distill: {URL}: cannot be reached (TimeoutError")
    assert others == ["distill ran", "validate ran"]


def test_a_stop_while_something_is_copied_ends_the_run_with_the_stage_stored(
    s3: S3Server, project: Open, tmp_path: Path
) -> None:
    opened, go_on = project(REMOTE, PUSH), threading.Event()
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED, REMOTE, PUSH],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as process:

        def interrupt(request: str) -> None:
            if request.startswith("PUT"):
                process.send_signal(signal.SIGINT)
                go_on.wait(300)
                raise ConnectionAbortedError

        s3.on_request = interrupt
        try:
            assert process.wait(60) == 130
        finally:
            process.kill()
            go_on.set()
    assert [path.parent.name for path in tmp_path.glob(".madpipe/entries/*/*/")] == ["distill"]
    s3.on_request = lambda _: None
    assert run(opened) == ["distill hit", *PUSHED[2:]]


def test_what_ran_before_a_failure_is_at_the_shared_cache(
    s3: S3Server, project: Open, code: Callable[..., None]
) -> None:
    opened = project(REMOTE, PUSH)
    code(
        "def distill(ctx):\n    ctx.output('picture').touch()\n    ctx.output('student').touch()\n"
    )
    with pytest.raises(StageError):
        run(opened)
    assert [name.split("/")[3] for name in s3.names("shared/v1/entries/")] == ["distill"]


STOPPED = """
import sys
import threading
from pathlib import Path
from pipeline.errors import Interrupted
from pipeline.project import Project
from pipeline.run_pipeline import run_pipeline
from tests.conftest import _declare

sys.path.insert(0, "code")
opened = Project.open(Path("pipeline.toml"), sys.argv[1:], _declare)
try:
    run_pipeline(opened, ["all"], force=(), sinks=[], command="run", inconclusive=4)
except Interrupted:
    sys.exit(130)
"""


def test_a_stop_while_something_is_taken_ends_the_run(
    s3: S3Server, project: Open, tmp_path: Path
) -> None:
    opened = project(REMOTE, PUSH)
    run(opened)
    forget(opened)
    # A process of its own: a signal to this one may reach what other tests left of their clients.
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED, REMOTE, PUSH],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as process:

        def interrupt(request: str) -> None:
            if "/objects/" in request:
                process.send_signal(signal.SIGINT)

        s3.on_request = interrupt
        assert process.wait(120) == 130
    assert list(tmp_path.glob(".madpipe/entries/*/*")) == []
    s3.on_request = lambda _: None
    assert run(opened) == BROUGHT


def test_a_folder_is_relative_to_the_settings_file(project: Open, tmp_path: Path) -> None:
    opened = project('cache.remote="shared"')
    first, *others = run(opened)
    assert first.startswith("distill: shared: no such folder")
    assert others == ["distill ran", "validate ran"]
    forget(opened)
    run(project('cache.remote="shared"', PUSH))
    assert len(list(Store(tmp_path / "shared").entries())) == 2
    forget(opened)
    assert run(opened)[:2] == [
        "distill: taken from the shared cache (shared)",
        "validate: taken from the shared cache (shared)",
    ]
