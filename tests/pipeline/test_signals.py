"""The first signal asks, the second stops, and the handlers before come back."""

import signal

import pytest

from pipeline.signals import stop_on_signals


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
def test_second_signal_stops_at_once(number: signal.Signals) -> None:
    with pytest.raises(KeyboardInterrupt):
        signalled(signal.SIGINT, number)


@BOTH
def test_handlers_before_are_put_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_on_signals():
        assert signal.getsignal(number) is not before
    assert signal.getsignal(number) is before
    with pytest.raises(KeyboardInterrupt):
        signalled(number, number)
    assert signal.getsignal(number) is before
