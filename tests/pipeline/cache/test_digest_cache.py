"""The cache of digests spares work and is never needed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.cache.digest_cache import DigestCache


def counted(calls: list[int], value: str = "x") -> Callable[[], dict[str, Any]]:
    def compute() -> dict[str, Any]:
        calls.append(1)
        return {"digest": value}

    return compute


def test_value_is_computed_once(tmp_path: Path) -> None:
    calls: list[int] = []
    cache = DigestCache(tmp_path / "digests.json")
    assert cache.get("code", "k", counted(calls)) == cache.get("code", "k", counted(calls))
    cache.save()
    assert DigestCache(tmp_path / "digests.json").get("code", "k", counted(calls)) == {
        "digest": "x"
    }
    assert len(calls) == 1


def test_kinds_and_keys_are_kept_apart() -> None:
    cache = DigestCache()
    assert cache.get("code", "k", lambda: {"v": 1}) == {"v": 1}
    assert cache.get("folder", "k", lambda: {"v": 2}) == {"v": 2}
    assert cache.get("code", "j", lambda: {"v": 3}) == {"v": 3}


def test_what_was_not_used_is_dropped_on_saving(tmp_path: Path) -> None:
    path = tmp_path / "digests.json"
    first = DigestCache(path)
    first.get("code", "old", dict)
    first.get("code", "kept", dict)
    first.save()
    second = DigestCache(path)
    second.get("code", "kept", dict)
    second.save()
    assert json.loads(path.read_bytes()) == {"code": {"kept": {}}}


def test_file_that_need_not_change_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "digests.json"
    cache = DigestCache(path)
    cache.get("code", "k", dict)
    cache.save()
    before = path.stat().st_mtime_ns
    again = DigestCache(path)
    again.get("code", "k", dict)
    again.save()
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff", b"[]", b"3", b'{"code": []}', b'{"code": {"k": 3}}']
)
def test_unreadable_file_counts_as_empty(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "digests.json"
    path.write_bytes(content)
    assert DigestCache(path).get("code", "k", counted([])) == {"digest": "x"}


def test_cache_without_a_file_saves_nothing() -> None:
    cache = DigestCache()
    cache.get("code", "k", dict)
    cache.save()


def test_a_cache_of_which_nothing_was_used_keeps_what_it_knows(tmp_path: Path) -> None:
    first = DigestCache(tmp_path / "digests.json")
    first.get("code", "a", lambda: {"digest": "1"})
    first.save()
    before = (tmp_path / "digests.json").read_bytes()
    DigestCache(tmp_path / "digests.json").save()
    assert (tmp_path / "digests.json").read_bytes() == before
