"""Libraries' log records are dropped for a while, and only up to a level."""

import logging

import pytest

from pipeline import library_logs


def test_records_up_to_a_level_are_dropped_for_a_while(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("a.library")
    with library_logs.switched_off(logging.WARNING):
        log.warning("dropped")
        log.error("kept")
        with library_logs.switched_off():
            log.critical("dropped as well")
        log.warning("dropped again")
    with library_logs.switched_off(), library_logs.switched_off(logging.WARNING):
        log.error("dropped within the wider one")
    log.warning("kept again")
    assert [record.message for record in caplog.records] == ["kept", "kept again"]


def test_an_error_ends_it(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ZeroDivisionError), library_logs.switched_off():
        _ = 1 / 0
    logging.getLogger("a.library").warning("kept")
    assert [record.message for record in caplog.records] == ["kept"]
