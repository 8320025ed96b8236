"""The first signal asks, the second stops, and the earlier handlers come back.

In processes of their own: a signal that nothing handles ends the one that raises it.
"""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BOTH = pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
BEGIN = """
from signal import *
from pipeline import signals
from pipeline.signals import stop_on_signals

# However slow this machine is, signals come within the moment in which they count as one.
signals._SAME_REQUEST_S = 600.0

def signalled(*numbers):
    with stop_on_signals() as stop_asked:
        for number in numbers:
            raise_signal(number)
        return stop_asked()

"""


def run(code: str) -> None:
    """Run a test's code, with the functions of `BEGIN`, to its end."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", BEGIN + textwrap.dedent(code)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert (done.returncode, done.stderr) == (0, "")


@BOTH
def test_first_signal_only_asks(number: str) -> None:
    run(f"assert not signalled() and signalled({number})")


@BOTH
def test_signals_within_a_moment_count_as_one(number: str) -> None:
    run(f"assert signalled(SIGINT, {number}, {number})")


@BOTH
def test_later_signal_stops_at_once(number: str) -> None:
    run(f"""
    signals._SAME_REQUEST_S = -1.0
    try:
        signalled(SIGINT, {number})
    except KeyboardInterrupt:
        raise SystemExit
    raise AssertionError
    """)


@BOTH
@pytest.mark.parametrize("before", ["SIG_IGN", "SIG_DFL", "default_int_handler"])
def test_earlier_handlers_are_put_back(number: str, before: str) -> None:
    run(f"""
    signal({number}, {before})
    with stop_on_signals():
        assert getsignal({number}) is not {before}
    assert getsignal({number}) == {before}
    assert signalled({number}, {number})
    assert getsignal({number}) == {before}
    """)


@BOTH
def test_one_within_another_asks_for_both_and_leaves_its_handlers(number: str) -> None:
    run(f"""
    before = getsignal({number})
    with stop_on_signals() as outer:
        handler = getsignal({number})
        assert signalled({number}) and outer()
        assert getsignal({number}) is handler is not before
    assert getsignal({number}) is before
    assert not signalled()
    """)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there are no terminals that close")
@pytest.mark.parametrize(("handler", "asks"), [("SIG_DFL", True), ("SIG_IGN", False)])
def test_a_closed_terminal_asks_unless_it_is_ignored(handler: str, *, asks: bool) -> None:
    run(f"""
    signal(SIGHUP, {handler})
    assert signalled(SIGHUP) is {asks}
    assert getsignal(SIGHUP) == {handler}
    """)


@BOTH
def test_a_signal_while_handlers_are_put_back_keeps_none_from_it(number: str) -> None:
    run(f"""
    import signal as module
    before = getsignal(SIGINT), getsignal(SIGTERM)
    signals._SAME_REQUEST_S = -1.0
    put, left = module.signal, [{number}]
    with stop_on_signals():
        raise_signal(SIGINT)
        module.signal = lambda *arguments: (left and raise_signal(left.pop()), put(*arguments))
    module.signal = put
    assert (getsignal(SIGINT), getsignal(SIGTERM)) == before
    """)


@pytest.mark.parametrize("number", ["SIGTERM", "SIGHUP"])
def test_outside_of_a_run_a_signal_interrupts_as_ctrl_c_does(number: str) -> None:
    run(f"""
    from pipeline.signals import interrupted_by_signals
    try:
        with interrupted_by_signals():
            assert not signalled()
            assert signalled({number})
            try:
                raise_signal({number})
            finally:
                raise_signal({number})
    except KeyboardInterrupt:
        assert getsignal({number}) == SIG_DFL
        raise SystemExit
    raise AssertionError
    """)


def test_what_handles_a_signal_already_stays() -> None:
    run("""
    from pipeline.signals import interrupted_by_signals
    signal(SIGTERM, SIG_IGN)
    with interrupted_by_signals():
        raise_signal(SIGTERM)
    """)


def test_no_thread_but_the_first_changes_what_signals_do() -> None:
    run("""
    import threading
    from pipeline.signals import interrupted_by_signals
    def enter():
        with interrupted_by_signals():
            assert getsignal(SIGTERM) == SIG_DFL
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    """)


def test_a_command_that_is_no_run_ends_by_a_signal_with_the_code_of_the_contract() -> None:
    run("""
    import contextlib, io
    from pipeline.cli import main
    main.app.registered_commands.clear()
    main.app.command("end")(lambda: raise_signal(SIGTERM))
    main.app.command("go")(lambda: None)
    messages = io.StringIO()
    try:
        with contextlib.redirect_stderr(messages):
            main.main(["end"])
    except SystemExit as error:
        assert error.code == 130, error.code
    assert "interrupted; the same command goes on" in messages.getvalue(), messages.getvalue()
    """)


def test_a_signal_that_comes_once_the_command_has_ended_changes_no_exit_code() -> None:
    for number in ("SIGTERM", "SIGHUP"):
        run(f"""
        import atexit, os, sys
        from pipeline.cli.main import main
        atexit.register(lambda: os.kill(os.getpid(), {number}))
        sys.argv = ["madpipe", "--version"]
        main()
        """)
