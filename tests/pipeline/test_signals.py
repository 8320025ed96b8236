"""The first signal asks, the second stops, and the earlier handlers come back."""

import signal

import pytest

from pipeline import run_pipeline
from pipeline.run_pipeline import stop_on_signals


def signalled(*numbers: signal.Signals) -> bool:
    """Raise the signals one after another; return whether a stop was asked for."""
    with stop_on_signals() as stop_asked:
        for number in numbers:
            signal.raise_signal(number)
        return stop_asked()


BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


@BOTH
def test_first_signal_only_asks(number: signal.Signals) -> None:
    assert not signalled()
    assert signalled(number)


@BOTH
def test_signals_within_a_moment_count_as_one(number: signal.Signals) -> None:
    assert signalled(signal.SIGINT, number, number)


@BOTH
def test_later_signal_stops_at_once(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_pipeline, "_SAME_REQUEST_S", -1.0)
    with pytest.raises(KeyboardInterrupt):
        signalled(signal.SIGINT, number)


@BOTH
def test_earlier_handlers_are_put_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_on_signals():
        assert signal.getsignal(number) is not before
    assert signal.getsignal(number) is before
    assert signalled(number, number)
    assert signal.getsignal(number) is before


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there are no terminals that close")
@pytest.mark.parametrize(("handler", "asks"), [(signal.SIG_DFL, True), (signal.SIG_IGN, False)])
def test_a_closed_terminal_asks_unless_it_is_ignored(
    handler: signal.Handlers, *, asks: bool
) -> None:
    before = signal.signal(signal.SIGHUP, handler)
    try:
        assert signalled(signal.SIGHUP) is asks
        assert signal.getsignal(signal.SIGHUP) == handler
    finally:
        signal.signal(signal.SIGHUP, before)
