"""Changes around the project: versions of packages, facts of the machine, the environment."""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.reliability.cache_hits import expected, probe
from benchmarks.reliability.cases import Case, Outcome

_BUILD_VALIDATE, _VALIDATE = expected.ENGINES, frozenset({expected.VALIDATE})
_GPU = {"gpu": "NVIDIA H200", "capability": "9.0", "driver": "570.1"}
_CPU_INFO = "model name\t: {model}\nflags\t\t: {flags}\n"
_MODEL, _FLAGS = "A processor", "fpu avx2 avx512f"
FACTS: dict[str, tuple[str, dict[str, str], dict[str, str], frozenset[str]]] = {
    "another GPU": ("digits", _GPU, _GPU | {"gpu": "NVIDIA H100"}, _BUILD_VALIDATE),
    "another capability": ("digits", _GPU, _GPU | {"capability": "9.1"}, _BUILD_VALIDATE),
    "another driver": ("digits", _GPU, _GPU | {"driver": "570.2"}, _BUILD_VALIDATE),
    "a processor more": ("digits", {"cores": "2"}, {"cores": "3"}, _VALIDATE),
    "a processor more, measured": ("program", {"cores": "2"}, {"cores": "3"}, _BUILD_VALIDATE),
    "another processor": ("digits", {"model": _MODEL}, {"model": "Another"}, _VALIDATE),
    "another processor, measured": ("program", {"model": _MODEL}, {"model": "B"}, _BUILD_VALIDATE),
    "AVX512 VNNI": ("digits", {}, {"flags": f"{_FLAGS} avx512_vnni"}, _BUILD_VALIDATE),
    "an ability that decides nothing": ("digits", {}, {"flags": f"{_FLAGS} rdrand"}, frozenset()),
    "another Python": ("digits", {}, {"minor": "99"}, expected.ALL),
}
"""By what is changed: the project, facts before and after, and the stages whose key follows."""
VARIABLES = {
    "OMP_NUM_THREADS": "3", "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "LC_ALL": "C",
    "HOME": "/nowhere", "NVIDIA_TF32_OVERRIDE": "0", "MKL_NUM_THREADS": "1", "TERM": "dumb",
    "PYTHONOPTIMIZE": "1", "MADPIPE_HOME": "/nowhere", "CUDA_VISIBLE_DEVICES": "",
}  # fmt: skip
"""Of the environment; none is part of a key."""


def plays() -> Iterator[tuple[str, Callable[[Case, Path, Path], Outcome]]]:
    """Yield what each case does, and what plays it."""
    for project, table in expected.PACKAGES.items():
        for name, stages in table.items():
            yield f"package {name} ({project})", functools.partial(_package, project, name, stages)
    for what in FACTS:
        yield f"fact {what}", functools.partial(_fact, what)
    for name in VARIABLES:
        yield f"variable {name}", functools.partial(_variable, name)


def _package(
    project: str, name: str, stages: frozenset[str], _case: Case, folder: Path, shared: Path
) -> Outcome:
    """Let a package have another version: its metadata come first on Python's path."""
    answers = []
    for version in ("999.1", "999.2"):
        site = folder / version / "site-packages"
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8"
        )
        if name == "einops":  # which the user's file imports, and which is nowhere installed
            (site / "einops.py").write_text("", encoding="utf-8")
        answers.append(probe.ask(shared / project, first=site))
    return Outcome(fault=probe.judged(stages, probe.changed(*answers)))


def _fact(what: str, _case: Case, folder: Path, shared: Path) -> Outcome:
    """Let the machine be another one."""
    project, *both, stages = FACTS[what]
    answers = []
    for number, facts in enumerate(both):
        assert isinstance(facts, dict)
        file = folder / f"{number}.cpuinfo"
        fields = {"model": _MODEL, "flags": _FLAGS} | facts
        file.write_text(_CPU_INFO.format(**fields), encoding="utf-8")
        answers.append(probe.ask(shared / project, facts=facts | {"cpu_info": str(file)}))
    assert isinstance(stages, frozenset)
    return Outcome(fault=probe.judged(stages, probe.changed(*answers)))


def _variable(name: str, _case: Case, _folder: Path, shared: Path) -> Outcome:
    """Change one variable of the environment."""
    before = probe.ask(shared / "digits")
    after = probe.ask(shared / "digits", variables={name: VARIABLES[name]})
    return Outcome(fault=probe.judged(frozenset(), probe.changed(before, after)))
