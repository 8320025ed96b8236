"""What a later run is compared with, kept in a folder: the report, measurements and samples."""

import os
from pathlib import Path

from pipeline.atomic import write_bytes
from pipeline.errors import StoreError
from pipeline.gates.stored_runs import REPORT, SAMPLES
from pipeline.project import MEASUREMENTS, VALIDATE, Project
from pipeline.report import records
from pipeline.report.document import document


def keep(project: Project, folder: Path) -> Path:
    """Keep what `madpipe compare` needs of the last run in a folder, and return its report.

    Raises:
        StoreError: The last run measured nothing, or the folder cannot be written.
    """
    report = document(project)
    validate = next((stage for stage in report.stages if stage.name == VALIDATE), None)
    if validate is None or not {MEASUREMENTS, SAMPLES} <= validate.outputs.keys():
        wrong = "the last run measured nothing (validate absent or failed)"
        raise StoreError(str(project.store.home), wrong, "madpipe run validate")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in (MEASUREMENTS, SAMPLES):
            original = Path(validate.outputs[name].path)
            write_bytes(folder / original.name, original.read_bytes())
        # Last, since it holds the digests of the others.
        write_bytes(folder / REPORT, records.to_json(report).encode())
    except OSError as error:
        place = os.fspath(error.filename or folder)
        wrong = f"cannot be written ({error.strerror})"
        raise StoreError(place, wrong, "give another folder") from error
    return folder / REPORT
