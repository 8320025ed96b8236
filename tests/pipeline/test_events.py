"""Events reach every sink in order and are flat records for programs."""

from pipeline.events import Event, broadcast


def test_every_sink_gets_the_same_event() -> None:
    first: list[Event] = []
    second: list[Event] = []
    broadcast([first.append, second.append], "note", "make", {"text": "hello"})
    assert first == second
    assert (first[0].kind, first[0].stage, first[0].fields) == ("note", "make", {"text": "hello"})
    assert first[0].time_s > 0


def test_event_is_one_flat_record() -> None:
    event = Event(time_s=1.23456, kind="note", stage="make", fields={"text": "hello"})
    assert event.as_dict() == {"time_s": 1.235, "kind": "note", "stage": "make", "text": "hello"}
    assert Event(time_s=1.0, kind="run_done").as_dict() == {"time_s": 1.0, "kind": "run_done"}
