"""A real change of one module of ours: another number or another truth in one of its functions."""

import ast
import contextlib
from collections.abc import Mapping
from pathlib import Path

from benchmarks.reliability.cache_hits.expected import ALL
from benchmarks.reliability.cache_hits.probe import PACKAGES

NO_STAGE = (
    "stages.packaging", "stages.doctor", "stages.standalone", "stages.preflight",
    "stages.preflight_images", "stages.version_conflicts", "stages.planned_memory",
    "stages.catalog", "stages.declared_uses", "stages.completed_settings",
    "stages.hubs.download", "stages.hubs.resolve",
    "pipeline.cli", "pipeline.screen", "pipeline.report", "pipeline.sweep", "pipeline.track",
    "pipeline.config", "pipeline.cache", "pipeline.runner", "pipeline.planner", "pipeline.settings",
    "pipeline.errors", "pipeline.stage", "pipeline.machine",
)  # fmt: skip
"""What plans, checks, shows and packs, and leaves nothing that a stage stores."""
COMPUTING = {
    "pipeline.image_size": ALL,
    "pipeline.preprocessing": ALL,
    "pipeline.texts": frozenset({"teacher", "validate"}),
    "pipeline.gates.intervals": frozenset({"teacher"}),
}
"""Modules of the core with which stages compute; in the project of folders."""
TRIED_BEFORE = {"stages.networks.outputs": frozenset({"distill"})}
"""Modules that only the check of a network loads which comes before a stage, in its process."""


def modules(root: Path) -> list[str]:
    """Return the dotted names of all our modules."""
    names = []
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


def file_of(module: str, root: Path) -> Path:
    """Return the source of a module in a tree."""
    base = root.joinpath(*module.split("."))
    package = base / "__init__.py"
    return package if package.is_file() else base.with_suffix(".py")


def changed_source(source: str, seed: int) -> str:
    """Return a source that does something else: one number or truth in it is another.

    Where it has none, there is one more name in it.
    """
    tree = ast.parse(source)
    numbers = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, int | float)
        and node.lineno == node.end_lineno
    ]
    for node in sorted(numbers, key=lambda node: hash((seed, node.lineno, node.col_offset))):
        lines = source.split("\n")
        line = lines[node.lineno - 1].encode()
        assert isinstance(node.value, int | float)
        other = repr(not node.value if isinstance(node.value, bool) else node.value + 1)
        changed = line[: node.col_offset] + other.encode() + line[node.end_col_offset :]
        lines[node.lineno - 1] = changed.decode()
        text = "\n".join(lines)
        with contextlib.suppress(SyntaxError):  # places in formatted texts are not exact
            if ast.dump(ast.parse(text)) != ast.dump(tree):
                return text
    return f"{source}\nONE_NAME_MORE = 1\n"


def judged(
    module: str, loaded: Mapping[str, frozenset[str]], seen: Mapping[str, frozenset[str]]
) -> tuple[str, str]:
    """Return what is wrong with the keys that changed with a module, and what is worth knowing.

    Args:
        module: Its name.
        loaded: By stage, what a run of the digits' project loaded.
        seen: By project, the stages whose keys changed.
    """
    anywhere = frozenset[str]().union(*seen.values())
    if any(module == name or module.startswith(f"{name}.") for name in NO_STAGE):
        needless = ", ".join(sorted(anywhere))
        return f"needless run of {needless}: no stage computes with it" if needless else "", ""
    expected = frozenset(stage for stage, names in loaded.items() if module in names)
    expected -= TRIED_BEFORE.get(module, frozenset())
    missed = expected - seen["digits"] | COMPUTING.get(module, frozenset()) - seen["folders"]
    stage = module.split(".")[1] if module.startswith("stages.") else ""
    if stage in ALL:
        missed |= {stage} - anywhere
    others = ", ".join(sorted(seen["digits"] - expected))
    fault = f"WRONG HIT of {', '.join(sorted(missed))}: they run it, seen the same key"
    remark = f"{others} may import it with other settings" if others else ""
    return fault if missed else "", remark
