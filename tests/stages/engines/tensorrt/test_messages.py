"""What passes between the processes."""

import msgspec

from pipeline.errors import StageError, UnavailableError
from stages.engines.tensorrt.messages import Line, as_error


def test_an_error_arrives_with_its_words_and_its_kind() -> None:
    for kind in (StageError, UnavailableError):
        sent = kind("build.precision", "is wrong (a: b; c)", "do this; or that")
        line = Line(kind="failed", exit_code=sent.exit_code, message=str(sent))
        arrived = as_error(msgspec.json.decode(msgspec.json.encode(line), type=Line))
        assert type(arrived) is kind
        assert str(arrived) == str(sent)
