"""URLs of shared caches are checked by their text, and never shown with what is secret in them."""

from importlib.metadata import version

import pytest
from packaging.version import Version

from pipeline.cache import urls
from pipeline.errors import UsageError

FAULTS = {
    "s4://bucket/a": "unknown scheme, did you mean 's3'? (s4)",
    "sftpp://host/a": "unknown scheme, did you mean 'sftp'? (sftpp)",
    "memory://a": "unknown scheme",
    "simplecache::s3://bucket/a": "unknown scheme",
    "zip::s3://bucket/a": "unknown scheme",
    "reference://a": "unknown scheme",
    "git://host/a": "unknown scheme",
    "github://owner:name@host/a": "unknown scheme",
    "jupyter://host/a": "unknown scheme",
    "dvc://host/a": "unknown scheme",
    "s3:/bucket/a": "has no // behind s3:",
    "HTTPS:me:pa55word@host": "has no // behind HTTPS:",
    "file:/shared": "has no // behind file:",
    "s3://": "names no bucket (s3://)",
    "az:///a": "names no container (az:///a)",
    "sftp://me:pa55word@/a": "names no host (sftp:///a)",
    "file://shared": "is not the path of a folder (shared)",
    "s3://KEY:pa55word@bucket/a": "has user and password, which s3 does not take from a URL",
    "https://me:pa55word/b@host/a": "has a port that is no number, or a / in its password",
    "https://host/a?token=pa55word": "has a query or fragment, behind which no file can be named",
}


@pytest.mark.parametrize("text", FAULTS)
def test_what_nothing_opens_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        urls.parse(text)
    assert caught.value.wrong.startswith(FAULTS[text])
    assert "pa55word" not in str(caught.value)
    if "unknown" in FAULTS[text]:
        assert "use one of s3, gs, az, sftp, https, file, or the path" in caught.value.remedy


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("s3://bucket/a/", "s3://bucket/a"),
        ("S3://bucket/A", "s3://bucket/A"),
        ("FILE:///shared", "file:///shared"),
        ("https://[::1]:80/a", "https://[::1]:80/a"),
        ("sftp://me:secret@host:22/a", "sftp://host:22/a"),
        ("https://me:secret@host/a", "https://host/a"),
        ("abfs://container@account.dfs.core.windows.net/a",) * 2,
        ("file:///shared/a@b", "file:///shared/a@b"),
        ("webdav://host/a", "webdav://host/a"),
    ],
)
def test_a_url_is_named_without_user_and_password(text: str, name: str) -> None:
    url = urls.parse(text)
    assert url.name == name


def test_folders_are_no_urls() -> None:
    assert not urls.is_url("/shared")
    assert not urls.is_url("C:\\shared")
    assert urls.is_url("s3://bucket")


def test_what_an_installed_package_adds_to_fsspec_is_not_opened() -> None:
    from fsspec.registry import known_implementations, register_implementation

    register_implementation("planted", "planted.module.Client")
    try:
        assert "planted" in known_implementations
        with pytest.raises(UsageError, match="unknown scheme"):
            urls.parse("planted://host/a")
    finally:
        del known_implementations["planted"]


@pytest.mark.skipif(Version(version("fsspec")) < Version("2026"), reason="fsspec knew fewer then")
def test_fsspec_has_a_client_of_each_scheme() -> None:
    from fsspec.registry import known_implementations

    assert set(known_implementations) >= urls._OTHERS
