"""Every error has its exit code and says place, fault and remedy."""

import pytest

from pipeline import errors


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("MadpipeError", 1),
        ("UsageError", 2),
        ("StageError", 1),
        ("UndeclaredAccess", 1),
        ("StoreError", 1),
        ("LockedError", 1),
        ("UnavailableError", 5),
        ("Interrupted", 130),
    ],
)
def test_error_has_its_exit_code_and_its_three_parts(name: str, code: int) -> None:
    error = getattr(errors, name)("here", "is wrong (3)", "do that")
    assert isinstance(error, errors.MadpipeError)
    assert error.exit_code == code
    assert str(error) == "here: is wrong (3); do that"


def test_faults_of_settings_are_lines() -> None:
    error = errors.ConfigError(["one", "two"])
    assert (str(error), error.faults, error.exit_code) == ("one\ntwo", ("one", "two"), 2)


def test_fault_without_its_line_names_its_key() -> None:
    error = errors.SettingsFault([(("data", "root"), "is wrong (x)", "do that")])
    assert (str(error), error.exit_code) == ("data.root: is wrong (x); do that", 2)
