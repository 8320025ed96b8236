"""A stranger's texts on terminals, in logs of GitHub, in Markdown, JUnit, JSON and metrics."""

import json
import re
import xml.parsers.expat

from markdown_it import MarkdownIt

from benchmarks.reliability.hostile import forgery
from benchmarks.reliability.hostile.scene import ANY_END, READING, Attack, NotSurvivedError, Scene

_AT_ONCE = 10
"""Classes of the project, each of which gets a text."""
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_TAGS = frozenset(
    {
        "p",
        "h1",
        "h2",
        "h3",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "em",
        "strong",
        "code",
        "ul",
    }
    | {"ol", "li", "br", "hr", "details", "summary"}
)
_URL = "http://127.0.0.1:PORT/harm"
_OURS = re.compile(r"::(error|warning|notice) title=madpipe%3A [^:]*::")


def chosen(scene: Scene, variant: int) -> tuple[str, ...]:
    """Return the texts of a variant."""
    known = forgery.texts(_URL.replace("PORT", str(scene.port)))
    begin = variant * _AT_ONCE % len(known)
    return (known[begin:] + known[:begin])[:_AT_ONCE]


def _forged(scene: Scene, variant: int) -> None:
    forgery.forge(scene.finished(), chosen(scene, variant))


def _require(is_right: object, expected: str, seen: object) -> None:
    if not is_right:
        raise NotSurvivedError(f"expected {expected}, seen {str(seen)[:200]!r}")


def check_screen(text: str) -> None:
    """Make sure that a terminal takes a text for text."""
    _require(not (controls := _CONTROLS.findall(text)), "no control character", controls)


def check_log(text: str) -> None:
    """Make sure that a log of GitHub has no commands but our annotations."""
    check_screen(text)
    for line in text.splitlines():
        is_command = line.lstrip().startswith("::")
        _require(not is_command or _OURS.match(line), "no workflow command but ours", line)
        _require("##[" not in line, "no old workflow command", line)


def check_markdown(text: str) -> None:
    """Make sure that Markdown has no HTML, link or picture of others, and whole tables."""
    check_screen(text)
    rendered = MarkdownIt("commonmark").enable("table").render(text)
    tags = set(re.findall(r"</?([A-Za-z][\w-]*)", re.sub(r"<!--.*?-->", "", rendered)))
    _require(tags <= _TAGS, "no other tags", sorted(tags - _TAGS))
    for table in re.findall(r"<table>.*?</table>", rendered, re.DOTALL):
        widths = {
            len(re.findall(r"<t[hd]\b", row))
            for row in re.findall(r"<tr>.*?</tr>", table, re.DOTALL)
        }
        _require(len(widths) == 1, "as many cells in each row", widths)
    for name in ("@everyone", "http://", "://"):
        _require(name not in text, f"no {name} that is linked by itself", name)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    _require(all(row.endswith("|") for row in rows), "rows that end with a border", rows)


def check_xml(text: str) -> None:
    """Make sure that a strict parser takes a file, which names no entities or types."""
    parser = xml.parsers.expat.ParserCreate()
    declared: list[object] = []
    parser.EntityDeclHandler = lambda *names: declared.append(names)
    parser.StartDoctypeDeclHandler = lambda *names: declared.append(names)
    try:
        parser.Parse(text.encode(), True)  # noqa: FBT003  (the library's own)
    except xml.parsers.expat.ExpatError as error:
        raise NotSurvivedError(f"expected XML, seen {error}") from error
    _require(not declared, "no declarations", declared)


def check_metrics(text: str) -> None:
    """Make sure that every line of OpenMetrics is one of ours."""
    line_form = re.compile(r"(# (TYPE|HELP) madpipe_\w+ [^\n]*|madpipe_\w+ \S+|# EOF)")
    for line in text.rstrip("\n").split("\n"):
        _require(line_form.fullmatch(line), "lines of figures alone", line)


def _forms(scene: Scene, variant: int) -> None:
    _forged(scene, variant)
    for form in ("markdown", "junit", "json", "gitlab-codequality", "gitlab-metrics", "bencher"):
        path = scene.project / f"out-{form}"
        printed = scene.attempt("report", "--format", form, codes=frozenset({0}))
        check_screen(printed.stdout + printed.stderr)
        scene.attempt("report", "--format", form, "--out", path.name, codes=frozenset({0}))
        for text in (printed.stdout, path.read_text(encoding="utf-8")):
            match form:
                case "markdown":
                    check_markdown(text)
                case "junit":
                    check_xml(text)
                case "gitlab-metrics":
                    check_metrics(text)
                case _:
                    json.loads(text)


def _screens(scene: Scene, variant: int) -> None:
    """Show everything that is stored, on a terminal and in a log of GitHub."""
    _forged(scene, variant)
    summary = scene.project / "summary.md"
    for command in (*READING, ("run", "all"), ("package", "--out", "packed", "--overwrite")):
        ended = scene.attempt(*command, codes=ANY_END)
        check_screen(ended.stdout + ended.stderr)
        variables = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)}
        ended = scene.attempt(*command, codes=ANY_END, variables=variables)
        check_log(ended.stdout + ended.stderr)
    if summary.is_file():
        check_markdown(summary.read_text(encoding="utf-8"))


def _messages(scene: Scene, variant: int) -> None:
    """Name files, settings and stages by a stranger's texts: messages show them."""
    scene.finished()
    text = forgery.texts(_URL.replace("PORT", str(scene.port)))[variant]
    name = text.replace("\0", "").replace("/", "_")
    (scene.project / name).write_bytes(b"x")
    (scene.project / "evil.toml").write_text(f"[x{json.dumps(text)}]\n", encoding="utf-8")
    (scene.project / "odd.toml").write_text(
        f"[teacher]\nweights = {json.dumps(text)}\n", encoding="utf-8"
    )
    commands = (
        ("run", "teacher", "--set", f"teacher.weights={name}"),
        ("run", name),
        ("why", name),
        ("plan", "--config", "evil.toml"),
        ("plan", "--config", "odd.toml"),
        ("validate", "--engine", name),
        ("build", "--onnx", name),
        ("export", "--student", name),
        ("compare", name, name),
        ("plan", "--set", name),
    )
    for command in commands:
        for variables in ({}, {"GITHUB_ACTIONS": "true"}):
            ended = scene.attempt(*command, codes=ANY_END, variables=variables)
            written = ended.stdout + ended.stderr
            (check_log if variables else check_screen)(written)


def _card(scene: Scene, variant: int) -> None:
    """Pack an engine whose run has a stranger's texts, and read the card."""
    _forged(scene, variant)
    scene.attempt("package", "--out", "packed", codes=frozenset({0}))
    card = scene.project / "packed/README.md"
    check_markdown(card.read_text(encoding="utf-8"))
    check_screen(card.with_name("labels.txt").read_text(encoding="utf-8"))


_SETS = 4
ATTACKS = (
    Attack("a stranger's texts in every form of a report", _forms, _SETS),
    Attack("a stranger's texts on screens and in logs", _screens, _SETS),
    Attack("a stranger's texts in messages", _messages, len(forgery.texts(""))),
    Attack("a stranger's texts in a package", _card, _SETS),
)
