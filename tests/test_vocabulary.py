"""The words of the repository are the field's: no private language in names or in prose."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDERS = ("pipeline", "stages", "models", "tests", "benchmarks", "scripts", "examples", "docs")

# Words of games and people, which stand for nothing here; anywhere, in any form.
PRIVATE_WORDS = re.compile(
    r"(?<![a-z])(games?|players?|crews?|dice|tally|tallies|hired?|hiring|fakes)(?![a-z])",
    re.IGNORECASE,
)
# Participles and pronouns that name nothing: a layer is `layer`, a stored record is `record`.
NAMELESS = {
    "asked",
    "each",
    "elsewhere",
    "found",
    "given",
    "made",
    "said",
    "say",
    "shown",
    "taken",
    "tell",
    "thrown",
    "told",
}


def files(*suffixes: str) -> list[Path]:
    paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*")]
    paths += ROOT.glob("*")
    return [path for path in paths if path.suffix in suffixes and path != Path(__file__)]


def identifiers(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and the name of everything that a module names itself."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                yield node.lineno, name
            case ast.Attribute(attr=name, ctx=ast.Store()):
                yield node.lineno, name
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield node.lineno, name
            case _:
                pass


def test_nothing_speaks_of_games_and_people() -> None:
    written = files(".py", ".md", ".toml", ".yml", ".json", ".j2", ".html")
    lines = [str(path) for path in written if PRIVATE_WORDS.search(str(path.relative_to(ROOT)))]
    lines += [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in written
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if PRIVATE_WORDS.search(line)
    ]
    assert not lines


def test_a_thing_that_has_a_name_is_called_by_it() -> None:
    places = [
        f"{path.relative_to(ROOT)}:{number}: {name}"
        for path in files(".py")
        for number, name in identifiers(ast.parse(path.read_text(encoding="utf-8")))
        if name.strip("_").lower() in NAMELESS
    ]
    assert not places
