"""What commands on files assume where neither a file nor an option says it, and say so."""

import contextlib
from collections.abc import Iterator, Mapping

from pipeline.errors import StageError, UsageError
from pipeline.preprocessing import Preprocessing
from pipeline.stage import OnNote
from stages.networks.facts import OPTIONS, assumed_in_graph

_DATA_OPTIONS = {"data.root": "--data", "data.labels": "--data", "data.classes": "--labels"}
_UNKNOWN_RANGE = "the ONNX file does not say what range its images have"


def report_assumptions(
    preprocessing: Preprocessing,
    options: Mapping[str, str],
    on_note: OnNote,
    *,
    is_strict: bool = False,
) -> None:
    """Pass on a line for each value that nobody said, with its option in `options`.

    Raises:
        UsageError: Some of them go into the graph, and they must not be assumed.
    """
    lines = preprocessing.assumptions(options)
    decisive = assumed_in_graph(preprocessing)
    if decisive and is_strict:
        names = ", ".join(options.get(name, name) for name in decisive)
        raise UsageError(
            "--strict",
            f"nobody said what goes into the graph ({'; '.join(lines)})",
            f"give {names}",
        )
    for line in lines:
        on_note(line)


def report_unknown_range(preprocessing: Preprocessing, on_note: OnNote, *, is_strict: bool) -> None:
    """Pass on what is assumed of the range of images that an ONNX file takes.

    Raises:
        UsageError: Nobody said it, here or when the file was exported, and it must not be assumed.
    """
    if preprocessing.mean:
        if is_strict:
            check_recorded(preprocessing, "export it again with --mean and --std")
        return
    if is_strict:
        remedy = "give --mean and --std, or --mean none for images in [0, 1] or bytes as they are"
        raise UsageError("--strict", f"{_UNKNOWN_RANGE} (no mean and std)", remedy)
    on_note(
        f"warning: {_UNKNOWN_RANGE}: assumed floats in [0, 1], or bytes as decoded, that it "
        "normalises itself; otherwise give --mean and --std, or --mean none to confirm it"
    )


def check_recorded(preprocessing: Preprocessing, remedy: str) -> None:
    """Make sure that nobody assumed what a file has in its graph.

    Raises:
        UsageError: It was assumed when the file was made.
    """
    if assumed_in_graph(preprocessing):
        lines = "; ".join(preprocessing.assumptions(OPTIONS))
        raise UsageError("--strict", f"nobody said what is in the graph ({lines})", remedy)


@contextlib.contextmanager
def naming_options() -> Iterator[None]:
    """Let errors of reading images name options, since commands on files have no settings."""
    try:
        yield
    except StageError as error:
        texts = [error.place, error.wrong, error.remedy]
        for setting, option in _DATA_OPTIONS.items():
            texts = [text.replace(setting, option) for text in texts]
        if texts == [error.place, error.wrong, error.remedy]:
            raise
        raise StageError(*texts) from error
