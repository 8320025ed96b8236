"""The first signal asks, the second stops, and the earlier handlers come back."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import signals
from pipeline.signals import stop_on_signals

ROOT = Path(__file__).parents[2]
BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


def signalled(*numbers: signal.Signals) -> bool:
    """Raise the signals one after another; return whether a stop was asked for."""
    with stop_on_signals() as stop_asked:
        for number in numbers:
            signal.raise_signal(number)
        return stop_asked()


@pytest.fixture
def one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow this machine is, signals come within the moment in which they count as one."""
    monkeypatch.setattr(signals, "_SAME_REQUEST_S", 600.0)


@BOTH
def test_first_signal_only_asks(number: signal.Signals) -> None:
    assert not signalled()
    assert signalled(number)


@BOTH
@pytest.mark.usefixtures("one_moment")
def test_signals_within_a_moment_count_as_one(number: signal.Signals) -> None:
    assert signalled(signal.SIGINT, number, number)


@BOTH
def test_later_signal_stops_at_once(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "_SAME_REQUEST_S", -1.0)
    with pytest.raises(KeyboardInterrupt):
        signalled(signal.SIGINT, number)


@BOTH
@pytest.mark.usefixtures("one_moment")
def test_earlier_handlers_are_put_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_on_signals():
        assert signal.getsignal(number) is not before
    assert signal.getsignal(number) is before
    assert signalled(number, number)
    assert signal.getsignal(number) is before


@BOTH
@pytest.mark.usefixtures("one_moment")
def test_one_within_another_asks_for_both_and_leaves_its_handlers(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_on_signals() as outer:
        handler = signal.getsignal(number)
        assert signalled(number)
        assert outer()
        assert signal.getsignal(number) is handler
    assert signal.getsignal(number) is before


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there are no terminals that close")
@pytest.mark.parametrize(("handler", "asks"), [("SIG_DFL", True), ("SIG_IGN", False)])
def test_a_closed_terminal_asks_unless_it_is_ignored(handler: str, *, asks: bool) -> None:
    """In a process of its own, which it ends where it is not handled."""
    code = f"""
import signal
from tests.pipeline.test_signals import signalled
signal.signal(signal.SIGHUP, signal.{handler})
assert signalled(signal.SIGHUP) is {asks}
assert signal.getsignal(signal.SIGHUP) == signal.{handler}
"""
    subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True
    )
