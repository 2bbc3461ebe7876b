"""CloudEvents 1.0, judged by the SDK of the specification's own project."""

from __future__ import annotations

import json

import pytest
from builders.every_kind import HOSTILE, entry_of
from cloudevents.core.bindings.http import HTTPMessage, from_structured_event
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from mimrun.log.entry import NOTHING
from mimrun.log.export.cloudevents import CloudEvents
from mimrun.log.kinds import Kind


def read(line: bytes) -> CloudEvent:
    """Take a line for the body of a request with one event, as a receiver does."""
    message = HTTPMessage(headers={"content-type": "application/cloudevents+json"}, body=line)
    event = from_structured_event(message, JSONFormat())
    assert isinstance(event, CloudEvent)
    return event


@pytest.mark.parametrize("kind", Kind)
def test_an_event_is_read_by_the_sdk_and_holds_the_entry(kind: Kind) -> None:
    entry = entry_of(kind, HOSTILE)
    line = CloudEvents().record(entry, None)
    assert line.count(b"\n") == 1
    assert line.removesuffix(b"\n").decode("ascii").isprintable()
    event = read(line)
    assert event.get_specversion() == "1.0"
    assert event.get_id() == "example.org/incidents/7"
    assert event.get_source() == "example.org/incidents"
    assert event.get_type() == f"org.mimrun.{kind.value}"
    assert event.get_time() == entry.ts
    assert event.get_dataschema() == f"urn:mimrun:mimlog:1:{kind.value}"
    assert event.get_data() == entry.as_json()


def test_an_event_of_no_incident_has_no_empty_subject() -> None:
    entry = entry_of(Kind.LOG_HEADS, inc="", iseq=0, iprev=NOTHING, run="", step="", target="")
    assert "subject" not in json.loads(CloudEvents().record(entry, None))


def test_attributes_hold_no_control_characters() -> None:
    attributes = json.loads(CloudEvents().record(entry_of(Kind.STEP_OUTCOME, HOSTILE), None))
    del attributes["data"]
    assert all(value.isprintable() for value in attributes.values()), attributes
    assert all(name.isalnum() and name.islower() for name in attributes)


def test_sequences_compare_as_texts() -> None:
    first, later = (
        json.loads(CloudEvents().record(entry_of(Kind.LOG_HEADS, seq=n), None))["sequence"] for n in (9, 10)
    )
    assert first < later
