"""What was measured foretells what a run takes, for the same settings on the same machine."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipeline import estimates
from pipeline.estimates import RateRecorder, StageRate, estimate, load, save
from pipeline.events import Event
from pipeline.settings import Data, Distill, Settings
from pipeline.stage import Stage

DISTILL = Stage(name="distill", run="x:run", outputs={}, settings=("seed", "student", "distill"))
SETTINGS = Settings(distill=Distill(rounds=100))


def _recorded(*events: tuple[float, str, dict[str, Any]]) -> dict[str, StageRate]:
    recorder = RateRecorder([DISTILL], SETTINGS)
    for time_s, kind, fields in events:
        recorder(Event(time_s=time_s, kind=kind, stage="distill", fields=fields))
    return recorder.rates


def _smoke() -> dict[str, StageRate]:
    """Return the rates of a smoke run: 10 s before the rounds, 30 s for the first, 2 s each."""
    rounds = [
        (100.0 + at_s, "progress", {"done": done, "total": 3, "unit": "rounds"})
        for done, at_s in enumerate((10.0, 40.0, 42.0, 44.0))
    ]
    return _recorded(
        (100.0, "stage_started", {}),
        (100.0, "played", {"played": 3, "total": 100, "unit": "rounds"}),
        *rounds,
        (149.0, "stage_done", {"status": "ran"}),
    )


def test_the_first_round_which_compiles_counts_once(tmp_path: Path) -> None:
    save(tmp_path, _smoke())
    expected = estimate(DISTILL, SETTINGS, load(tmp_path))
    assert expected is not None
    # 10 s before, 28 s of the first round for compiling, 5 s after, and 100 rounds of 2 s.
    assert expected.seconds == pytest.approx(10 + 28 + 5 + 200)
    assert expected.memory_bytes is None or expected.memory_bytes > 0


def test_more_rounds_take_longer_and_other_settings_are_not_foretold(tmp_path: Path) -> None:
    save(tmp_path, _smoke())
    rates = load(tmp_path)
    longer = estimate(DISTILL, Settings(seed=3, distill=Distill(rounds=1000)), rates)
    assert longer is not None
    assert longer.seconds == pytest.approx(43 + 2000)
    for changed in (
        Settings(distill=Distill(rounds=100, batch_size=64)),
        Settings(distill=Distill(rounds=100), data=Data(image_size_px=64)),
    ):
        assert estimate(DISTILL, changed, rates) is None


def test_another_machine_and_an_unreadable_file_foretell_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, _smoke())
    monkeypatch.setattr(estimates, "_machine", lambda: "another")
    assert estimate(DISTILL, SETTINGS, load(tmp_path)) is None
    (tmp_path / estimates.RATES_FILE).write_text("{]", encoding="utf-8")
    assert load(tmp_path) == {}


def test_what_was_stored_or_resumed_measures_nothing() -> None:
    for status in ("hit", "resumed"):
        started: dict[str, Any] = {}
        done = {"status": status}
        assert not _recorded((0.0, "stage_started", started), (9.0, "stage_done", done))


def test_all_is_known_only_where_each_stage_is() -> None:
    one, other = estimates.Estimate(2.0, 100), estimates.Estimate(3.0, 300)
    assert estimates.as_fields({"teacher": one, "distill": other}) == {
        "stages": {"teacher": 2.0, "distill": 3.0},
        "seconds": 5.0,
        "memory_bytes": 300,
    }
    fields = estimates.as_fields({"teacher": one, "distill": None})
    assert (fields["seconds"], fields["memory_bytes"]) == (None, None)


def test_a_rate_is_read_as_it_was_written(tmp_path: Path) -> None:
    rates = _smoke()
    save(tmp_path, rates)
    (stored,) = load(tmp_path).values()
    assert msgspec.to_builtins(stored["distill"]) == msgspec.to_builtins(rates["distill"])


@pytest.mark.parametrize(
    ("name", "value"),
    [("distill.rounds", 0), ("distill.rounds", "x"), ("distill.rounds", None)],
)
def test_a_rate_with_other_values_foretells_nothing(name: str, value: object) -> None:
    rate = _smoke()["distill"]
    changed = msgspec.structs.replace(rate, settings=rate.settings | {name: value})
    assert estimate(DISTILL, SETTINGS, {estimates._machine(): {"distill": changed}}) is None


def test_a_rate_without_end_foretells_nothing() -> None:
    rate = _smoke()["distill"]
    endless = {"rounds": estimates.UnitRate(each_s=1e308, total=1e308)}
    changed = msgspec.structs.replace(rate, units=endless)
    assert estimate(DISTILL, SETTINGS, {estimates._machine(): {"distill": changed}}) is None
