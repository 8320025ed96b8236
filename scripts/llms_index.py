"""Write llms.txt: the pages of the documentation, a line each, for programs that read.

In the form of the llms.txt proposal: a title, a summary, and lists of links with a note. The note
of a page is what stands in `_NOTES`, else its first sentence; decisions and benchmarks have titles.
"""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PATH = ROOT / "llms.txt"
_SECTIONS = {
    "Docs": ("README.md", "docs/*.md", "docs/ci/*.md", "SECURITY.md"),
    "Examples": ("examples/*/README.md",),
    "Reference": ("pipeline.toml", "docs/report.schema.json", "CHANGELOG.md", "CONTRIBUTING.md"),
    "Optional": ("docs/decisions/*.md", "benchmarks/*.md"),
}
_BY_TITLE = "Optional"
_NOTES = {
    "README.md": "What madpipe is, what was measured, the commands, and a teacher of one's own.",
    "pipeline.toml": "Every setting with its default, its bounds and a sentence.",
    "docs/report.schema.json": "JSON Schema of the report.",
    "CHANGELOG.md": "What is new.",
    "CONTRIBUTING.md": "How to set up and check, the map of the code, the style, the glossary.",
    "SECURITY.md": "What of foreign files may run, what is refused, what is sent and fetched.",
    "docs/checkpoints.md": "Which checkpoints and which code of one's own are read, and how.",
    "docs/ci/README.md": "A GitHub action, a GitLab job and a Jenkinsfile, ready to copy.",
    "docs/cli.md": "Every command with its options, every exit code, completion in the shell.",
    "docs/distill.md": "Methods, generators, large images, unlabelled images, outputs, speed.",
    "docs/engines.md": "Backends, precisions, int8 and int4, TensorRT, what to install, packages.",
    "docs/inferred.md": "What madpipe takes that nobody said, where it is shown, how to say it.",
    "docs/presets.md": "Settings for well-known sets, and what of them has run.",
    "docs/privacy.md": "What a student may give away, where images lie, what one can do; sources.",
}
_SUMMARY = (
    "From a trained image classifier (the teacher) to a small, validated engine, without its "
    "training data: `madpipe run all` distils a student without data, exports it to ONNX, builds "
    "an engine and judges accuracy and latency by gates."
)
_DETAILS = (
    "A Python package with one command, `madpipe`; settings are in `pipeline.toml`, stages are "
    "cached and resumable. `--json` gives JSON on standard output; `madpipe help exit-codes` "
    "explains the exit codes; `madpipe plan` shows what would run."
)


def render() -> str:
    """Return the text of llms.txt."""
    lines = ["# madpipe", "", f"> {_SUMMARY}", "", _DETAILS]
    for section, patterns in _SECTIONS.items():
        lines += ["", f"## {section}", ""]
        for path in _listed(patterns):
            name = path.relative_to(ROOT).as_posix()
            text = path.read_text(encoding="utf-8")
            note = _NOTES.get(name) or ("" if section == _BY_TITLE else first_sentence(text))
            lines.append(f"- [{_title(path, text)}]({name})" + (f": {note}" if note else ""))
    return "\n".join(lines) + "\n"


def first_sentence(text: str) -> str:
    """Return the first sentence of a page below its title, links and code as their words."""
    paragraphs = re.split(r"\n\s*\n", text.partition("\n")[2].strip())
    prose = [part for part in paragraphs if re.match(r'["*_`\w(\[](?!``)', part)]
    words = " ".join(prose[0].split()) if prose else ""
    words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", words)
    sentence = re.match(r".*?[.:](?= |$)", words)
    return (sentence[0] if sentence else words).rstrip(":.") + "."


def _listed(patterns: tuple[str, ...]) -> Iterator[Path]:
    for pattern in patterns:
        yield from sorted(ROOT.glob(pattern))


def _title(path: Path, text: str) -> str:
    heading = re.match(r"# (.+)", text) if path.suffix == ".md" else None
    return heading[1].replace("`", "") if heading else path.name


def main() -> None:
    """Write the file."""
    PATH.write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main()
