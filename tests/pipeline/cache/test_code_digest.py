"""The digest of code changes with what the code does, and with nothing else."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.cache.code_digest import code_digests
from pipeline.cache.digest_cache import DigestCache

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


def test_cache_is_not_asked_for_other_sources(code: Code, before: dict[str, str]) -> None:
    digest_cache = DigestCache()
    assert code_digests(["fakestages.work"], digest_cache) == before
    code(SOURCE.replace("4", "5"), "work")
    assert code_digests(["fakestages.work"], digest_cache) != before
