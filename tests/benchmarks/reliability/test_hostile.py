"""A share of the hostile files, and that the piece sees harm where it is done."""

import json
from pathlib import Path

import pytest

from benchmarks.reliability import small_project
from benchmarks.reliability.cases import Case
from benchmarks.reliability.hostile import forgery, piece, texts
from benchmarks.reliability.hostile.payloads import CONTAINERS, PICKLES
from benchmarks.reliability.hostile.scene import NotSurvivedError, Scene
from benchmarks.reliability.small_project import Ended
from pipeline.cache.entry import EntryRecord
from pipeline.texts import printable
from tests.pipeline.cache import entries

SHARE = (
    "a pickle as the teacher's weights [1]",
    "an output's name that leads elsewhere, pulled [0]",
)


@pytest.mark.parametrize("what", SHARE)
def test_a_hostile_file_does_no_harm(what: str, tmp_path: Path) -> None:
    case = Case.numbered(1, what, piece="hostile", seed=0)
    (tmp_path / "case").mkdir()
    assert piece.play(case, tmp_path / "case", tmp_path).fault == ""


def test_every_case_has_an_attack_and_a_name_of_its_own() -> None:
    names = [case.what for case in piece.cases(0)]
    assert len(names) == len(set(names)) == sum(attack.variants for attack in piece.ATTACKS)
    assert set(SHARE) <= set(names)


HARM = {
    "runs code": ("canary", "the canary is there"),
    "changes a file": ("outside/a/notes.txt", "no file outside to change"),
    "leaves a file": ("elsewhere", "no file outside to change"),
}


@pytest.mark.parametrize("harm", HARM)
def test_harm_is_seen(harm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, fault = HARM[harm]
    scene = Scene(tmp_path, tmp_path)

    def run(*_: object, **__: object) -> Ended:
        (tmp_path / name).write_text("harm", encoding="utf-8")
        return Ended(1, "", "refused")

    monkeypatch.setattr(small_project, "run", run)
    with pytest.raises(NotSurvivedError, match=fault):
        scene.attempt("run")


@pytest.mark.parametrize(
    ("ended", "fault"),
    [
        (Ended(0, "", ""), "expected exit code in"),
        (Ended(-9, "", ""), "expected exit code in"),
        (Ended(1, "", "Traceback (most recent call last):\n x"), "expected a message"),
        (Ended(1, "", "madpipe: unexpected KeyError ('x'); repeat"), "expected a message"),
    ],
)
def test_an_answer_that_is_none_is_seen(
    ended: Ended, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small_project, "run", lambda *_, **__: ended)
    with pytest.raises(NotSurvivedError, match=fault):
        Scene(tmp_path, tmp_path).attempt("run")


@pytest.mark.parametrize("name", PICKLES)
def test_a_pickle_runs_code_where_it_is_loaded(name: str, tmp_path: Path) -> None:
    import contextlib
    import pickle

    scene = Scene(tmp_path, tmp_path)
    with contextlib.suppress(Exception), scene._listening():
        pickle.loads(PICKLES[name](scene.code, scene.shell))  # noqa: S301  (it is what is tested)
    assert scene.canary.exists()
    assert len(CONTAINERS["zip"](b"x")) > 1


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (texts.check_screen, "a\x1b[2J"),
        (texts.check_log, "  ::stop-commands::x"),
        (texts.check_log, "a ##[error]x"),
        (texts.check_markdown, "[a](https://example.org)"),
        (texts.check_markdown, "<img src=x>"),
        (texts.check_markdown, "| a | b |\n| --- | --- |\n| a\\\\| b | c"),
        (texts.check_xml, '<a b="\x0b"/>'),
        (texts.check_xml, '<!DOCTYPE a [<!ENTITY b "c">]><a/>'),
        (texts.check_metrics, "madpipe_a 1\nevil 2"),
    ],
)
def test_what_is_not_escaped_is_seen(check: object, text: str) -> None:
    assert callable(check)
    with pytest.raises(NotSurvivedError):
        check(text)


def test_what_is_escaped_passes() -> None:
    texts.check_screen(printable("a\x1b[2J"))
    texts.check_log("::error title=madpipe%3A stage x failed::text\nok")
    texts.check_markdown("| a | b |\n| --- | --- |\n| \\[a\\](https&#58;//x) | &lt;b> |\n")
    texts.check_metrics("# TYPE madpipe_a gauge\n# HELP madpipe_a x\nmadpipe_a 1.0\n# EOF\n")


def test_a_forged_record_agrees_with_itself(tmp_path: Path) -> None:
    from pipeline.cache.entry import damage_of
    from pipeline.cache.store import Store

    store = Store(tmp_path)
    entry = entries.put(store)
    forgery.forge(tmp_path, forgery.texts("http://127.0.0.1/"))
    record = EntryRecord.decode((entry.path / "entry.json").read_bytes())
    assert "<script>" in json.dumps(record.metrics)
    assert damage_of(entry._replace(record=record)) is None
