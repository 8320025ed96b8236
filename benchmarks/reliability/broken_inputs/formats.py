"""The formats and how many cases each has; 10,000 in all."""

from benchmarks.reliability.broken_inputs import (
    engines,
    labels,
    options,
    results,
    settings_file,
    shared_caches,
    working_folder,
)
from benchmarks.reliability.broken_inputs.harness import Share, piece

SHARES = (
    Share(settings_file.GRAMMAR, 700),
    Share(settings_file.VALUES, 900),
    Share(options.SET_VALUES, 700),
    Share(options.COMMAND_LINES, 900),
    Share(working_folder.ENTRIES, 500),
    Share(working_folder.MEMOS, 300),
    Share(working_folder.RUNS, 300),
    Share(working_folder.POINTERS, 300),
    Share(working_folder.LOCK, 50),
    Share(working_folder.EVENTS, 50),
    Share(results.RESULTS, 800),
    Share(results.BASELINES, 400),
    Share(results.NAMES, 100),
    Share(labels.LABELS, 300),
    Share(labels.CLASSES, 300),
    Share(engines.MANIFESTS, 400),
    Share(engines.BESIDE, 100),
    Share(shared_caches.FOLDERS, 300),
    Share(shared_caches.URLS, 300),
    Share(shared_caches.PLACES, 200),
)
PIECE = piece(
    "broken-inputs",
    "a broken input of any format ends with a message, within 2 GiB and 20 s, runs no code and "
    "changes no file that is not madpipe's",
    SHARES,
)
