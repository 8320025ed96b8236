"""The sink that translates the events of a run into what trackers record.

Curves are `distill/student_loss` by round or epoch, results `result/distill/params`, gates
`gate/speedup`; texts are the results, the verdicts and the notes. It only puts things into the
queues of the trackers, and so holds nobody up.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from pipeline import stored_files
from pipeline.cache.entry import Entry
from pipeline.cache.store import Store
from pipeline.errors import error_summary
from pipeline.events import Event, Sink, broadcast
from pipeline.report import markdown
from pipeline.screen import formatting
from pipeline.track.outbox import (
    Artefact,
    Labels,
    Message,
    Outbox,
    Picture,
    Point,
    Results,
    Text,
)
from pipeline.track.resumption import Resumption
from pipeline.track.tracker import Outcome

_PICTURE = "picture"
"""The output of a stage that is one."""
_EVENTS = "events.jsonl"


class TrackSink:
    """Hands what happens to every tracker, and tells the other sinks which of them failed."""

    def __init__(
        self, outboxes: Sequence[Outbox], store: Store, resumption: Resumption, others: list[Sink]
    ) -> None:
        """Hand to `outboxes`; `others` get a note of each that fails."""
        self._outboxes = outboxes
        self._store = store
        self._resumption = resumption
        self._others = others
        self._reported: set[str] = set()
        self._results: dict[str, Mapping[str, Any]] = {}
        self._gates: list[Mapping[str, Any]] = []
        self._notes_put = 0

    def __call__(self, event: Event) -> None:
        """Take one event of the run."""
        try:
            self._take(event)
        except OSError as error:  # a full disk must end the run at its own writes, not at ours
            if str(error) not in self._reported:
                self._reported.add(str(error))
                self._note(f"trackers miss something of this run ({error_summary(error)})")
        self._report_failures()

    def _take(self, event: Event) -> None:
        fields, stage = event.fields, event.stage or ""
        match event.kind:
            case "point":
                self._put(Point(stage, fields["unit"], fields["step"], fields["figures"]))
            case "picture":
                self._put_picture(f"{stage}/{fields['name']}", fields["step"], fields["path"])
            case "note":
                self._resumption.remember_note(f"{event.stage or 'madpipe'}: {fields['text']}")
            case "stage_done":
                self._end_stage(stage, fields)
            case "stage_failed":
                self._put(
                    Labels({f"{stage}.status": "failed", f"{stage}.error": fields["message"]})
                )
            case "gate":
                self._gates.append(fields)
                self._judge(fields)
            case _:
                pass

    def close(self, outcome: Outcome, files: Sequence[Path], wait_s: float) -> None:
        """Hand over what is known at the end, and wait up to `wait_s` for the trackers in all."""
        self._put_notes()
        self._put_tables()
        for path in files:
            self._put(Artefact(path))
        for outbox in self._outboxes:
            outbox.close(outcome)
        end_s = time.monotonic() + wait_s
        for outbox in self._outboxes:
            left = outbox.undelivered(max(0.0, end_s - time.monotonic()))
            self._report_failures()
            if lost := left + outbox.dropped:
                when = f"within {wait_s:g} s of the end (track.wait_s)" if left else "in time"
                self._note(f"{outbox.name} did not take {lost} messages {when}, which are lost")

    def _put(self, message: Message) -> None:
        for outbox in self._outboxes:
            outbox.put(message)

    def _put_picture(self, name: str, step: int, path: str) -> None:
        # The stage writes over it or removes it, so it is read before anything else happens.
        self._put(Picture(name, step, Path(path).read_bytes()))

    def _end_stage(self, stage: str, fields: Mapping[str, Any]) -> None:
        entry = self._store.read(stage, fields["key"])
        points = _stored_points(entry) if entry else []
        if fields["status"] == "hit":
            for point in points:
                self._put(Point(stage, point["unit"], point["step"], point["figures"]))
        results = {**fields["metrics"], "seconds": fields["seconds"]}
        self._results[stage] = results
        self._put(Results(f"result/{stage}", _numbers(results)))
        labels = {name: value for name, value in results.items() if isinstance(value, str)}
        labels["status"] = fields["status"]
        self._put(Labels({f"{stage}.{name}": value for name, value in labels.items()}))
        if entry and _PICTURE in entry.record.outputs:
            last = points[-1]["step"] if points else 0
            self._put_picture(f"{stage}/samples", last, str(entry.output(_PICTURE)))
        self._put_notes()

    def _judge(self, gate: Mapping[str, Any]) -> None:
        bounds = ("low", "high")
        figures = {
            "value": gate["value"],
            **dict(zip(bounds, gate["interval"] or (), strict=False)),
        }
        self._put(Results(f"gate/{gate['name']}", _numbers(figures)))
        self._put(Labels({f"gate.{gate['name']}": _verdict(gate)}))

    def _put_tables(self) -> None:
        """Put the results and the verdicts as texts, for people."""
        rows = [
            (stage, name, formatting.number(value))
            for stage, results in self._results.items()
            for name, value in results.items()
        ]
        if rows:
            self._put(Text("results", _table(("stage", "figure", "value"), rows)))
        if self._gates:
            rows = [(gate["name"], _verdict(gate), gate["reason"]) for gate in self._gates]
            self._put(Text("gates", _table(("gate", "verdict", "because"), rows)))

    def _put_notes(self) -> None:
        """Put the notes so far, if there are new ones."""
        notes = self._resumption.notes
        if len(notes) > self._notes_put:
            self._notes_put = len(notes)
            self._put(Text("notes", "\n".join(f"- {markdown.escaped(note)}" for note in notes)))

    def _report_failures(self) -> None:
        for outbox in self._outboxes:
            if outbox.failure is not None and outbox.name not in self._reported:
                self._reported.add(outbox.name)
                self._note(f"{outbox.name} failed ({outbox.failure}); the run goes on without it")

    def _note(self, text: str) -> None:
        broadcast(self._others, "note", None, {"text": text})


def _verdict(gate: Mapping[str, Any]) -> str:
    return formatting.verdict(gate["verdict"], gate["severity"])


def _numbers(figures: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: float(figure) for name, figure in figures.items() if isinstance(figure, int | float)
    }


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(markdown.escaped, line))} |" for line in lines)


def _stored_points(entry: Entry) -> list[Mapping[str, Any]]:
    """Return the points of the curves that a stored stage once reported, none where it has none."""
    try:
        lines = stored_files.read_bytes(entry.path / _EVENTS).splitlines()
        events = [stored_files.decode(line, dict[str, Any]) for line in lines]
    except (OSError, msgspec.DecodeError):
        return []  # they are no output of the stage, and so not everywhere it is
    return [event for event in events if event.get("kind") == "point"]
