"""Text of others is text on a screen: no command to a terminal, none to a workflow."""

import json
import unicodedata
from pathlib import Path

import pytest

from pipeline import texts
from pipeline.errors import ConfigError, MadpipeError, SettingsFault
from pipeline.texts import json_line, printable, screen_text, whole_number

ESCAPES = {
    "clear": "\x1b[2J",
    "title": "\x1b]0;title\x07",
    "link": "\x1b]8;;https://example.org\x1b\\\\name\x1b]8;;\x1b\\\\",
    "clipboard": "\x1b]52;c;cm0gLXJm\x07",
    "eight bits": "\x9b31m",
    "return": "all is well\rnot",
    "line": "one\ntwo",
    "separator": "one\u2028two",
    "direction": "\u202egnp.exe",
    "isolate": "\u2066a\u2069",
    "bell": "\x07\x08\x7f\0",
}


def is_harmless(text: str) -> bool:
    marks = {"\u061c", "\u200e", "\u200f", *map(chr, range(0x202A, 0x202F))}
    marks |= set(map(chr, range(0x2066, 0x206A)))
    kinds = {unicodedata.category(character) for character in text}
    return not kinds & {"Cc", "Zl", "Zp", "Cs"} and not marks & set(text)


@pytest.mark.parametrize("text", ESCAPES.values(), ids=ESCAPES)
def test_nothing_in_a_line_is_a_command_to_a_terminal(text: str) -> None:
    assert is_harmless(printable(f"a {text} b"))
    assert is_harmless(printable(text + "\udcff"))
    assert printable(printable(text)) == printable(text)


def test_escapes_can_be_read() -> None:
    assert printable("\x1b[31mred\x9b") == r"\x1b[31mred\x9b"
    assert printable("caf\udce9") == r"caf\xe9"
    for usual in ("größe 猫 🐈 [red] a\\b", "\ta"):
        assert printable(usual) == usual


@pytest.mark.parametrize("text", ESCAPES.values(), ids=ESCAPES)
def test_errors_hold_no_command(text: str) -> None:
    error = MadpipeError(text, f"is wrong ({text})", text)
    assert is_harmless(str(error))
    assert error.args[0] == text, "an error that crosses processes is as it was"
    assert all(map(is_harmless, ConfigError([text, "b"]).faults))
    assert is_harmless(str(SettingsFault([(("a", "b"), text, text)])))


@pytest.mark.parametrize("text", [*ESCAPES.values(), "##[error]x"])
def test_json_that_is_shown_stands_for_the_same(text: str) -> None:
    line = json_line(json.dumps({"a": text}, ensure_ascii=False))
    assert json.loads(line) == {"a": text}
    assert is_harmless(line)
    assert "##[" not in line


@pytest.mark.parametrize(
    "text",
    ["::error::x", "  ::stop-commands::x", "one\n::add-mask::e", "a ##[add-mask]e", "##[group]"],
)
def test_no_line_is_a_command_to_a_workflow(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    assert screen_text(text) == text
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    written = screen_text(text)
    assert not any(line.lstrip().startswith("::") for line in written.splitlines())
    assert "##[" not in written
    assert screen_text(json_line('{"a": "##[group]"}')) == json_line('{"a": "##[group]"}')


def test_lines_stay_lines() -> None:
    assert screen_text("a\n\x1bb\n\tc") == "a\n\\x1bb\n\tc"


def test_every_print_of_the_commands_goes_through_it() -> None:
    root = Path(texts.__file__).parent
    prints = {
        f"{path.relative_to(root)}: {line.strip()}"
        for path in [*root.glob("cli/*.py"), *root.glob("screen/*.py")]
        for line in path.read_text(encoding="utf-8").splitlines()
        if "typer.echo(" in line or " print(" in line
    }
    assert prints == {
        "cli/common.py: typer.echo(texts.screen_text(text))",
        "cli/common.py: typer.echo(texts.screen_text(text), err=True)",
        "cli/help_topics.py: typer.echo(root.get_help())",
        'cli/help_topics.py: typer.echo("\\n\\n".join(map(_explained, codes)))',
        "cli/help_topics.py: typer.echo(command.get_help(inner))",
        'cli/main.py: typer.echo(f"madpipe {__version__}")',
        "screen/plain.py: print(screen_text(printable(line)), file=self._stream, flush=True)",
        "screen/sweep_lines.py: print(line, file=self._stream, flush=True)",
    }


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("12", 12),
        ("007", 7),
        ("\u0663", 3),
        ("", None),
        ("-1", None),
        ("\u00b2", None),
        ("9" * 5000, None),
    ],
)
def test_digits_that_stand_for_a_count_are_its_number(text: str, number: int | None) -> None:
    assert whole_number(text) == number
