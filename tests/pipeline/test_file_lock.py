"""The system's lock on a file: taken once, given back, and never replaced by a weaker one."""

import fcntl
import os
from pathlib import Path

import filelock
import pytest

from pipeline.file_lock import NoLocksError, try_lock


def test_lock_is_taken_once_and_given_back(tmp_path: Path) -> None:
    release = try_lock(tmp_path / "lock")
    assert release is not None
    assert try_lock(tmp_path / "lock") is None
    release()
    again = try_lock(tmp_path / "lock")
    assert again is not None
    again()


@pytest.mark.parametrize("is_told", [True, False])
def test_existence_of_a_file_is_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_told: bool
) -> None:
    def no_lock(_fd: int, _operation: int) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", no_lock)
    if not is_told:  # as the oldest filelock that is allowed
        monkeypatch.delattr(filelock.BaseFileLock, "fallback_to_soft", raising=False)
    with pytest.raises(NoLocksError) as caught:
        try_lock(tmp_path / "lock")
    assert caught.value.filename == str(tmp_path / "lock")
    assert not os.path.lexists(tmp_path / "lock") or not (tmp_path / "lock").read_bytes()


def test_file_that_cannot_be_made_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError) as caught:
        try_lock(tmp_path)
    assert not isinstance(caught.value, NoLocksError)
