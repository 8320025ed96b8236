"""Stored results of a finished project in which a stranger's texts stand, all digests agreeing."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from pipeline.cache.entry import EntryRecord, OutputRecord

_NAMES = {"class", "class_name", "reason", "message", "command", "statement", "device", "arch"}
"""Fields of records whose text is a stranger's; class names are in lists as well."""
_FACTS = {"environment", "host", "facts"}


def texts(canary_url: str) -> tuple[str, ...]:
    """Return texts that would be markup, commands or borders where they are not escaped."""
    run = f"window.harmed=1;new Image().src='{canary_url}'"
    return (
        f"<script>{run}</script>",
        f'<img src=x onerror="{run}">',
        f'"><svg onload="{run}">',
        f"'><iframe src='{canary_url}'></iframe>",
        f"</td></table><a href='{canary_url}'>all is well</a>",
        f"</style><link rel=stylesheet href='{canary_url}'>",
        f"--></script><script>{run}</script>",
        f"{{{{ ''.__class__.__mro__ }}}}{{% include '{canary_url}' %}}",
        f"javascript:{run}",
        f"&lt;script&gt;{run}&lt;/script&gt;",
        f"[click]({canary_url})",
        f"![]({canary_url})",
        f"[a]: {canary_url}",
        f"<{canary_url}>",
        "a\\|b | c",
        "`a|b",
        "```",
        "# heading",
        "---",
        "@everyone #1",
        "\x1b[2J\x1b]0;title\x07",
        f"\x1b]8;;{canary_url}\x1b\\link\x1b]8;;\x1b\\",
        "\x1b]52;c;eA==\x07",
        "\x9b31m",
        "a\rb\x08\x08",
        "a\n::error::not ours",
        "::set-output name=x::y",
        "##[error]not ours",
        "::stop-commands::x",
        "%0A::error::not ours",
        "]]><!-- ",
        "<!ENTITY x SYSTEM 'file:///etc/passwd'>&x;",
        "a\x00b\x0bc",
        "\ufffe\uffff",
        "\u202egnp.exe",
        "=cmd|' /C calc'!A0",
        "$\\input{/etc/passwd}$",
        "[red]bold[/red][link=https://example.org]x[/link]",
        "%(harm)s {0.__class__}",
        "# HELP x y\nmadpipe_x 1",
    )


def forge(home: Path, hostile: Sequence[str], *, is_hostile: bool = True) -> None:
    """Put texts into every record of a working folder, and make its digests agree.

    Where not `is_hostile`, harmless texts stand in the same places, to compare a page with.
    """
    used = list(hostile) if is_hostile else [f"text {n}" for n in range(len(hostile))]
    for path in home.glob("entries/*/*/entry.json"):
        record = EntryRecord.decode(path.read_bytes())
        outputs = {
            name: _rewritten(path.with_name(Path(output.file).name), output, used)
            for name, output in record.outputs.items()
        }
        host = {name: used[n % len(used)] for n, name in enumerate(record.host)}
        metrics = record.metrics | {used[0]: used[1]}
        changed = msgspec.structs.replace(record, outputs=outputs, host=host, metrics=metrics)
        path.chmod(0o644)
        path.write_bytes(changed.encode())
    for path in home.glob("runs/*.json"):
        path.write_bytes(json.dumps(_changed(json.loads(path.read_bytes()), used, "")).encode())


def _rewritten(path: Path, output: OutputRecord, used: Sequence[str]) -> OutputRecord:
    """Change the texts of an output that is JSON; return its record."""
    if path.suffix != ".json":
        return output
    content = json.dumps(_changed(json.loads(path.read_bytes()), used, "")).encode()
    path.chmod(0o644)
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    return OutputRecord(file=output.file, sha256=digest, bytes=len(content))


def _changed(value: Any, used: Sequence[str], name: str) -> Any:
    if isinstance(value, Mapping):
        if name in _FACTS:
            return {field: used[n % len(used)] for n, field in enumerate(value)}
        return {field: _changed(inner, used, field) for field, inner in value.items()}
    if isinstance(value, list):
        if name == "classes":
            return [used[n % len(used)] for n in range(len(value))]
        return [_changed(inner, used, name) for inner in value]
    is_text = isinstance(value, str) and name in _NAMES
    return used[len(str(value)) % len(used)] if is_text else value
