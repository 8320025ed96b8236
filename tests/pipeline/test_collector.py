"""Collecting is put off, and goes on behind it."""

import gc

import pytest

from pipeline import collector


def test_nothing_is_collected_within_and_again_behind_it() -> None:
    with collector.paused(), collector.paused():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(KeyError), collector.paused():
        raise KeyError
    assert gc.isenabled()
