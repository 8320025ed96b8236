"""The digest of code changes with what the code does; the cache of digests is never needed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.cache.digests import DigestCache, code_digests

Code = Callable[..., None]

SOURCE = '''"""What it is."""
from fakestages.helper import double

# a comment
def run(ctx):
    """Say what it does."""
    return double(4)
'''
HELPER = "def double(x):\n    return 2 * x\n"


def digests(*modules: str) -> dict[str, str]:
    return code_digests(modules or ("fakestages.work",), DigestCache())


@pytest.fixture
def before(code: Code) -> dict[str, str]:
    code(SOURCE, "work")
    code(HELPER, "helper")
    return digests()


def test_modules_that_are_imported_are_part_of_it(before: dict[str, str]) -> None:
    assert {"fakestages.work", "fakestages.helper"} <= before.keys()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# a comment\n", ""),
        ("# a comment", "# another comment"),
        ('"""What it is."""', '"""What it was, at length."""'),
        ('    """Say what it does."""\n', ""),
        ("return double(4)", "return double( 4 )"),
        ("return double(4)", "return (double(\n        4,\n    ))"),
    ],
)
def test_comments_docstrings_and_layout_do_not_count(
    code: Code, before: dict[str, str], old: str, new: str
) -> None:
    assert old in SOURCE
    code(SOURCE.replace(old, new), "work")
    assert digests() == before


def test_edit_of_the_module_counts(code: Code, before: dict[str, str]) -> None:
    code(SOURCE.replace("double(4)", "double(5)"), "work")
    changed = digests()
    assert changed["fakestages.work"] != before["fakestages.work"]
    assert changed["fakestages.helper"] == before["fakestages.helper"]


def test_edit_of_a_helper_counts(code: Code, before: dict[str, str]) -> None:
    code(HELPER.replace("2 * x", "x + x"), "helper")
    assert digests()["fakestages.helper"] != before["fakestages.helper"]


def test_edit_of_a_helper_of_a_helper_counts(code: Code, before: dict[str, str]) -> None:
    code("from . import deep\n" + HELPER, "helper")
    code("X = 1\n", "deep")
    once = digests()
    code("X = 2\n", "deep")
    assert before.keys() < once.keys()
    assert digests()["fakestages.deep"] != once["fakestages.deep"]


@pytest.mark.parametrize(
    "statement",
    [
        "import fakestages.other",
        "from fakestages import other",
        "from fakestages.other import X",
        "from . import other",
        "from .other import X",
        "def f():\n    from fakestages import other",
        "if True:\n    import fakestages.other as o",
    ],
)
def test_every_form_of_import_is_followed(code: Code, statement: str) -> None:
    code("X = 1\n", "other")
    code(statement + "\n", "work")
    assert "fakestages.other" in digests()


def test_relative_import_of_a_package_above_is_followed(code: Code) -> None:
    code("", "inner/__init__")
    code("from ..other import X\n", "inner/work")
    code("X = 1\n", "other")
    assert {"fakestages.inner.work", "fakestages.other"} <= digests("fakestages.inner.work").keys()


def test_package_that_holds_an_imported_module_counts_since_python_runs_it(code: Code) -> None:
    code("import fakestages.inner.other\n", "work")
    code("import os\n", "inner/__init__")
    code("X = 1\n", "inner/other")
    once = digests()
    code("import sys\n", "inner/__init__")
    assert digests() != once


def test_modules_of_the_core_do_not_count(code: Code) -> None:
    code("from pipeline.stage import Context\nimport json\n", "work")
    assert [name for name in digests() if not name.startswith("fakestages")] == []


def test_module_of_the_core_with_which_stages_compute_counts(code: Code) -> None:
    code("from pipeline.image_size import compact\nfrom pipeline import texts\n", "work")
    assert {"pipeline.image_size", "pipeline.texts"} <= digests().keys()


def test_circular_imports_come_to_an_end(code: Code) -> None:
    code("from fakestages import other\n", "work")
    code("from fakestages import work\n", "other")
    assert {"fakestages.other", "fakestages.work"} <= digests().keys()


def test_nothing_is_imported_to_find_it(code: Code) -> None:
    code("raise SystemExit\n", "work")
    assert "fakestages.work" in digests()


def test_single_module_outside_a_package_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "lonely_stage.py").write_text("X = 1\n", encoding="utf-8")
    assert list(digests("lonely_stage")) == ["lonely_stage"]


def test_missing_package_is_an_error() -> None:
    with pytest.raises(ModuleNotFoundError, match="no module named 'nowhere_at_all'"):
        digests("nowhere_at_all")


def test_missing_module_of_a_package_is_an_error(code: Code) -> None:
    code("")
    with pytest.raises(ModuleNotFoundError):
        digests("fakestages.gone")


def test_cached_digest_is_not_used_for_other_sources(code: Code, before: dict[str, str]) -> None:
    digest_cache = DigestCache()
    assert code_digests(["fakestages.work"], digest_cache) == before
    code(SOURCE.replace("4", "5"), "work")
    assert code_digests(["fakestages.work"], digest_cache) != before


def counted(calls: list[int], value: str = "x") -> Callable[[], dict[str, Any]]:
    def compute() -> dict[str, Any]:
        calls.append(1)
        return {"digest": value}

    return compute


def test_value_is_computed_once(tmp_path: Path) -> None:
    calls: list[int] = []
    cache = DigestCache(tmp_path / "digests.json")
    assert cache.get("code", "k", counted(calls)) == cache.get("code", "k", counted(calls))
    cache.save()
    assert DigestCache(tmp_path / "digests.json").get("code", "k", counted(calls)) == {
        "digest": "x"
    }
    assert len(calls) == 1


def test_kinds_and_keys_are_kept_apart() -> None:
    cache = DigestCache()
    assert cache.get("code", "k", lambda: {"v": 1}) == {"v": 1}
    assert cache.get("folder", "k", lambda: {"v": 2}) == {"v": 2}
    assert cache.get("code", "j", lambda: {"v": 3}) == {"v": 3}


def test_what_was_not_used_is_dropped_on_saving(tmp_path: Path) -> None:
    path = tmp_path / "digests.json"
    first = DigestCache(path)
    first.get("code", "old", dict)
    first.get("code", "kept", dict)
    first.save()
    second = DigestCache(path)
    second.get("code", "kept", dict)
    second.save()
    assert json.loads(path.read_bytes())["digests"] == {"code": {"kept": {}}}


def test_file_that_need_not_change_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "digests.json"
    cache = DigestCache(path)
    cache.get("code", "k", dict)
    cache.save()
    before = path.stat().st_mtime_ns
    again = DigestCache(path)
    again.get("code", "k", dict)
    again.save()
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff", b"[]", b"3", b'{"code": []}', b'{"code": {"k": 3}}']
)
def test_unreadable_file_counts_as_empty(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "digests.json"
    path.write_bytes(content)
    assert DigestCache(path).get("code", "k", counted([])) == {"digest": "x"}


def test_cache_without_a_file_saves_nothing() -> None:
    cache = DigestCache()
    cache.get("code", "k", dict)
    cache.save()


def test_a_cache_of_which_nothing_was_used_keeps_what_it_knows(tmp_path: Path) -> None:
    first = DigestCache(tmp_path / "digests.json")
    first.get("code", "a", lambda: {"digest": "1"})
    first.save()
    before = (tmp_path / "digests.json").read_bytes()
    DigestCache(tmp_path / "digests.json").save()
    assert (tmp_path / "digests.json").read_bytes() == before


@pytest.mark.parametrize("change", [("x", "y"), ('"digest"', '"imports"'), ("sha256", "sha255")])
def test_a_memo_that_was_changed_counts_as_none(tmp_path: Path, change: tuple[str, str]) -> None:
    path = tmp_path / "digests.json"
    first = DigestCache(path)
    first.get("code", "k", lambda: {"digest": "x"})
    first.save()
    path.write_text(path.read_text(encoding="utf-8").replace(*change), encoding="utf-8")
    assert DigestCache(path).get("code", "k", lambda: {"digest": "new"}) == {"digest": "new"}
