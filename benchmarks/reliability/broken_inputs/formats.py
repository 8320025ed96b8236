"""Formats of texts and records and their cases; with `binary_formats` 10,000 in all."""

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
    Share(settings_file.GRAMMAR, 600),
    Share(settings_file.VALUES, 800),
    Share(options.SET_VALUES, 700),
    Share(options.COMMAND_LINES, 800),
    Share(working_folder.ENTRIES, 450),
    Share(working_folder.MEMOS, 300),
    Share(working_folder.RUNS, 300),
    Share(working_folder.POINTERS, 300),
    Share(working_folder.LOCK, 50),
    Share(working_folder.EVENTS, 50),
    Share(results.RESULTS, 700),
    Share(results.BASELINES, 350),
    Share(results.NAMES, 100),
    Share(labels.LABELS, 200),
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
