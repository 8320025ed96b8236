"""A project: its settings, its stages and its working folder, opened together."""

import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.cache.digests import DigestCache
from pipeline.cache.entry import Entry, damage_of
from pipeline.cache.store import Store
from pipeline.config import load as config
from pipeline.config.rules import broken_rules
from pipeline.errors import SettingsFault, StoreError, UsageError
from pipeline.gates import real_images
from pipeline.gates.judge import Verdict, judge
from pipeline.gates.measurement_files import read
from pipeline.gates.measurements import Measurements
from pipeline.gates.real_images import RealImages
from pipeline.paths import working_folder
from pipeline.planner import Planned, ordered, plan, selected
from pipeline.settings import Settings
from pipeline.stage import Stage

SMOKE_FOLDER = "smoke"
"""In the working folder: what smoke runs leave, which no other run reads."""
VALIDATE = "validate"
"""The stage whose measurements are judged."""
MEASUREMENTS = "measurements"
"""Its output that holds them."""
DISTILL = "distill"
"""The stage that may use real images."""
REAL_IMAGES = "images"
"""Its output that lists them, where it used any."""

Declare = Callable[[Settings, Path], tuple[Stage, ...]]
Complete = Callable[[Settings, Path], Settings]
"""Fills in what follows from other settings and from files that they name."""


def _as_written(settings: Settings, _root: Path) -> Settings:
    return settings


@dataclass(frozen=True, slots=True)
class Project:
    """Settings, stages and store of one pipeline.toml."""

    settings: Settings
    stages: tuple[Stage, ...]
    store: Store
    path: Path
    overrides: tuple[str, ...] = ()
    declare: Declare | None = None
    complete: Complete = _as_written

    @classmethod
    def open(
        cls,
        path: Path,
        overrides: Sequence[str],
        declare: Declare,
        complete: Complete = _as_written,
    ) -> "Project":
        """Read the settings, complete them and declare the stages; no result is written.

        Raises:
            ConfigError: The settings are wrong.
            StoreError: The working folder is of a newer layout.
            UnavailableError: A package that completing them needs is not installed.
        """
        root = path.resolve().parent
        written = config.load(path, overrides)
        try:
            settings = complete(written, root)
            if settings != written and (faults := [*broken_rules(settings)]):
                raise SettingsFault(faults)  # noqa: TRY301
            stages = ordered(declare(settings, root))
        except SettingsFault as fault:
            raise config.locate(path, overrides, fault) from fault
        store = Store(home_of(path))
        store.check_layout()
        return cls(settings, stages, store, path, tuple(overrides), declare, complete)

    def as_smoke(self) -> "Project":
        """Return the project with a working folder of its own for a smoke run."""
        return replace(self, store=Store(self.store.home / SMOKE_FOLDER))

    @property
    def none_stored(self) -> str:
        """Say for messages that nothing is stored, and why where a smoke run was all there was."""
        return "none stored; a smoke run judges nothing" if self.has_smoke else "none stored"

    @property
    def has_smoke(self) -> bool:
        """Whether there was a smoke run."""
        return (self.store.home / SMOKE_FOLDER).exists()

    def fetch(self, targets: Sequence[str]) -> "Project":
        """Bring the outside files and folders that are to be downloaded and that are absent.

        Returns:
            The project as it is declared with them.

        Raises:
            ConfigError: A setting names what is not there, or cannot be reached.
            StageError: One cannot be had.
            UnavailableError: The package that downloads it is not installed.
            UsageError: A target is no stage.
        """
        externals = [
            e for stage in selected(self.stages, targets) for e in stage.externals.values()
        ]
        absent = {e.fetch: e for e in externals if e.fetch and not e.is_fetched}
        try:
            for fetch, external in absent.items():
                pkgutil.resolve_name(fetch)(self.settings, external.path)
        except SettingsFault as fault:
            raise config.locate(self.path, self.overrides, fault) from fault
        if not absent or self.declare is None:
            return self
        opened = Project.open(self.path, self.overrides, self.declare, self.complete)
        return replace(opened, store=self.store)

    def plan(
        self,
        targets: Sequence[str],
        force: frozenset[str] = frozenset(),
        digest_cache: DigestCache | None = None,
    ) -> list[Planned]:
        """Return what a run would do, without running or writing anything.

        The stages named by `force` run although they are stored. What is computed for the plan
        stays in `digest_cache`, where there is one.

        Raises:
            ConfigError: A setting names a file that is not there, or code that is no Python.
            UsageError: A target is no stage.
        """
        stages = selected(self.stages, targets)
        externals = [external for stage in stages for external in stage.externals.values()]
        missing = {item.needed_by: item for item in externals if not item.path.exists()}
        faults = [
            (tuple(key.split(".")), f"no such file or folder ({item.path})", item.remedy)
            for key, item in missing.items()
        ]
        if faults:
            raise config.locate(self.path, self.overrides, SettingsFault(faults))
        try:
            digest_cache = digest_cache or DigestCache(self.store.digest_cache_path)
            return plan(stages, self.settings, self.store, digest_cache, force)
        except SettingsFault as fault:
            raise config.locate(self.path, self.overrides, fault) from fault

    def measurements(self) -> Measurements | None:
        """Return what the validate entry used last measured, None where nothing is measured.

        Raises:
            StoreError: The stored measurements are damaged or of another schema.
        """
        entry = self.store.newest(VALIDATE)
        return measurements_of(entry) if entry else None

    def verdicts(self) -> list[Verdict]:
        """Judge the stored measurements by the gates of the settings; measures nothing.

        Raises:
            StoreError: Nothing is measured yet, or it is damaged.
        """
        measurements = self.measurements()
        if measurements is None:
            wrong = f"holds no measurements ({self.none_stored})"
            raise StoreError(str(self.store.home), wrong, "madpipe run validate")
        return judge(measurements, self.settings.gates)


def measurements_of(validate: Entry) -> Measurements:
    """Return what an entry of validate measured, after reading and checking every byte of it.

    Raises:
        StoreError: It is damaged or gone, or of another schema.
    """
    if damage := damage_of(validate):
        raise StoreError(str(validate.path), f"is damaged ({damage})", "madpipe run validate")
    return read(validate.output(MEASUREMENTS), Measurements)


def real_images_of(distill: Entry | None) -> RealImages | None:
    """Return which real images an entry of distill used, None where there is no entry.

    An entry that left no list of them declared none, and so could reach none.

    Raises:
        StoreError: The stored list is damaged.
    """
    if distill is None:
        return None
    if REAL_IMAGES not in distill.record.outputs:
        return RealImages()
    return real_images.read(distill.output(REAL_IMAGES)).use


def home_of(config_path: Path) -> Path:
    """Return the working folder that belongs to a config, which may be absent.

    Raises:
        UsageError: It is a folder, which would put the working folder beside that one.
    """
    if config_path.is_dir():
        wrong = f"is a folder, not a file of settings ({config_path})"
        raise UsageError("--config", wrong, "name a file in it, such as pipeline.toml")
    return working_folder(config_path.resolve().parent)
