"""Programs get JSON, terminals a live table, and everything else plain lines."""

import os
import subprocess
import sys

import pytest

from pipeline.screen.choose import choose
from pipeline.screen.jsonlines import JsonScreen
from pipeline.screen.plain import PlainScreen

SCRIPT = """
import sys
from pipeline.screen.choose import choose
sys.stderr.write(type(choose(as_json=False)).__name__)
"""


def test_json_is_for_programs_wherever_it_goes() -> None:
    assert isinstance(choose(as_json=True), JsonScreen)


def test_pipe_gets_plain_lines() -> None:
    assert isinstance(choose(as_json=False), PlainScreen)


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
@pytest.mark.parametrize(("term", "name"), [("xterm", "LiveScreen"), ("dumb", "PlainScreen")])
def test_terminal_gets_a_live_table_unless_it_is_dumb(term: str, name: str) -> None:
    outer, inner = os.openpty()
    try:
        answer = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            stdout=inner,
            stderr=subprocess.PIPE,
            env=os.environ | {"TERM": term},
            text=True,
            check=True,
        )
    finally:
        os.close(outer)
        os.close(inner)
    assert answer.stderr == name
