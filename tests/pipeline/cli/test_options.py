"""Options that several commands share are there in each and explained alike."""

import re
from collections.abc import Callable

import pytest

Call = Callable[..., tuple[int, str, str]]

RUNNING = ["run", "distill", "export", "build", "validate"]
READING = ["plan", "status", "why", "gate"]


def options(madpipe: Call, verb: str) -> set[str]:
    code, out, _ = madpipe(*verb.split(), "--help")
    assert code == 0
    return set(re.findall(r"--[a-z-]+", out))


@pytest.mark.parametrize("verb", RUNNING)
def test_commands_that_run_take_the_same_options(madpipe: Call, verb: str) -> None:
    assert {"--config", "--set", "--force", "--json"} <= options(madpipe, verb)


@pytest.mark.parametrize("verb", READING)
def test_commands_that_read_take_the_same_options(madpipe: Call, verb: str) -> None:
    assert {"--config", "--set", "--json"} <= options(madpipe, verb)


@pytest.mark.parametrize("verb", ["run", "gate"])
def test_commands_that_judge_take_inconclusive(madpipe: Call, verb: str) -> None:
    assert "--inconclusive" in options(madpipe, verb)


@pytest.mark.parametrize("verb", ["ls", "verify", "gc", "push", "pull"])
def test_commands_on_the_cache_take_a_config(madpipe: Call, verb: str) -> None:
    assert "--config" in options(madpipe, f"cache {verb}")
