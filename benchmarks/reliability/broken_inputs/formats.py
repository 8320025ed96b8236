"""The formats and how many cases each has; 10,000 in all."""

from benchmarks.reliability.broken_inputs import settings_file
from benchmarks.reliability.broken_inputs.harness import Share, piece

SHARES = (
    Share(settings_file.GRAMMAR, 700),
    Share(settings_file.VALUES, 900),
)
PIECE = piece(
    "broken-inputs",
    "a broken input of any format ends with a message, within 2 GiB and 20 s, runs no code and "
    "changes no file that is not madpipe's",
    SHARES,
)
