"""The code of a user's network counts with all that it is seen to run or to read."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.cache import users_code
from pipeline.cache.digests import DigestCache
from pipeline.cache.users_code import users_code_digests

Write = Callable[..., None]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write files by their names, with / for folders and the suffix .py left out."""

    def call(**texts: str) -> None:
        for name, text in texts.items():
            path = tmp_path / f"{name.replace('__init', '/__init__')}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")

    return call


def names(tmp_path: Path) -> set[str]:
    return set(users_code_digests(tmp_path / "net.py", DigestCache()))


def test_what_a_package_imports_from_itself_counts(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "net.py").write_text("from parts import head\n", encoding="utf-8")
    (tmp_path / "parts" / "__init__.py").write_text("from .heads import head\n", encoding="utf-8")
    (tmp_path / "parts" / "heads.py").write_text("head = 1\n", encoding="utf-8")
    assert names(tmp_path) == {"net.py", "parts/__init__.py", "parts/heads.py"}


@pytest.mark.parametrize(
    "source",
    [
        "import importlib\nimportlib.import_module('layers')\n",
        "import importlib\nimportlib.import_module('.layers', __package__)\n",
        "import importlib\nimportlib.import_module('lay' + 'ers')\n",
        "__import__('lay' + 'ers')\n",
        "exec(open(__file__).read())\n",
        "def make():\n    from layers import block\n",
    ],
)
def test_module_that_is_imported_by_name_counts(tmp_path: Path, write: Write, source: str) -> None:
    write(net=source, layers="WIDTH = 1\n")
    assert names(tmp_path) == {"net.py", "layers.py"}


def test_file_that_a_text_names_counts_by_its_bytes(tmp_path: Path, write: Write) -> None:
    write(net="from pathlib import Path\nW = Path(__file__).parent / 'sizes' / 'net.json'\n")
    (tmp_path / "sizes").mkdir()
    (tmp_path / "sizes" / "net.json").write_text("8", encoding="utf-8")
    before = users_code_digests(tmp_path / "net.py", DigestCache())
    assert set(before) == {"net.py", "sizes/net.json"}
    (tmp_path / "sizes" / "net.json").write_text("9", encoding="utf-8")
    assert users_code_digests(tmp_path / "net.py", DigestCache()) != before


def test_what_a_docstring_or_a_remark_names_does_not_count(tmp_path: Path, write: Write) -> None:
    write(net="'layers'\n# net.json\n", layers="")
    (tmp_path / "net.json").write_text("8", encoding="utf-8")
    assert names(tmp_path) == {"net.py"}


def test_compiled_module_counts(tmp_path: Path, write: Write) -> None:
    write(net="import fast\n")
    (tmp_path / "fast.so").write_bytes(b"\x7fELF")
    assert names(tmp_path) == {"net.py", "fast.so"}


def test_module_in_a_folder_that_is_put_on_the_path_counts(tmp_path: Path) -> None:
    for name, text in {
        "nets/net.py": "import sys\nsys.path += [f'{__file__}/../..', 'lib']\nimport a, b\n",
        "a.py": "X = 1\n",
        "nets/lib/b.py": "X = 1\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    digests = users_code_digests(tmp_path / "nets" / "net.py", DigestCache())
    assert set(digests) == {"net.py", "../a.py", "lib/b.py"}


def test_version_of_an_imported_package_counts(tmp_path: Path, write: Write) -> None:
    write(net="import json, torch\nimport msgspec\nfrom PIL import Image\nimport nowhere_at_all\n")
    digests = users_code_digests(tmp_path / "net.py", DigestCache())
    assert set(digests) == {"net.py", "msgspec", "PIL", "nowhere_at_all"}
    assert digests["nowhere_at_all"] == "absent"
    assert digests["PIL"][0].isdigit()


def test_package_that_is_worked_on_counts_by_its_code(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path / "elsewhere"))
    users_code._of_package.cache_clear()
    (tmp_path / "elsewhere" / "mynets").mkdir(parents=True)
    module = tmp_path / "elsewhere" / "mynets" / "__init__.py"
    module.write_text("WIDTH = 1\n", encoding="utf-8")
    write(net="import mynets\n")
    before = users_code_digests(tmp_path / "net.py", DigestCache())
    assert set(before) == {"net.py", "elsewhere/mynets/__init__.py"}
    module.write_text("WIDTH = 2\n", encoding="utf-8")
    assert users_code_digests(tmp_path / "net.py", DigestCache()) != before
    assert "mynets" not in sys.modules
