"""OCSF 1.8.0, judged by the published schema."""

from __future__ import annotations

import functools
import json
from typing import Any

import pytest
from builders.every_kind import HOSTILE, entry_of
from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from mimrun.log.entry import NOTHING, LogEntry
from mimrun.log.export.ocsf import Ocsf, event_of
from mimrun.log.export.ocsf_activity import ACTIVITIES, OTHER, Class
from mimrun.log.kinds import Kind


@functools.cache
def schema() -> dict[str, Any]:
    return get_ocsf_schema("1.8.0")


@functools.cache
def judge(uid: int) -> Draft202012Validator:
    embedded = OcsfJsonSchemaEmbedded(schema())
    wanted = embedded.get_class_schema(embedded.lookup_class_name_from_uid(uid), ["host"])
    Draft202012Validator.check_schema(wanted)
    return Draft202012Validator(wanted)


def flaws(entry: LogEntry) -> list[str]:
    event = json.loads(Ocsf().record(entry, None))
    return [f"{list(error.path)}: {error.message}" for error in judge(event["class_uid"]).iter_errors(event)]


def captions(uid: int, attribute: str) -> dict[str, str]:
    found = next(one for one in schema()["classes"].values() if one["uid"] == uid)
    return {number: each["caption"] for number, each in found["attributes"][attribute]["enum"].items()}


@pytest.mark.parametrize("text", ["plain", HOSTILE], ids=["plain", "hostile"])
@pytest.mark.parametrize("kind", Kind)
def test_an_event_satisfies_the_schema(kind: Kind, text: str) -> None:
    assert flaws(entry_of(kind, text)) == []


@pytest.mark.parametrize("kind", Kind)
def test_an_event_without_run_step_and_target_satisfies_it_too(kind: Kind) -> None:
    bare = entry_of(kind, inc="", iseq=0, iprev=NOTHING, run="", step="", target="", attempt=0, epoch=0)
    assert flaws(bare) == []


def test_the_judge_finds_what_is_wrong() -> None:
    event = event_of(entry_of(Kind.STEP_OUTCOME))
    for wrong in ({"command_uid": 7}, {"severity_id": 17}, {"made_up": "x"}):
        assert list(judge(7001).iter_errors(event | wrong))
    assert list(judge(7001).iter_errors({k: v for k, v in event.items() if k != "metadata"}))


def test_every_kind_has_a_class_and_the_names_are_those_of_the_schema() -> None:
    assert set(ACTIVITIES) == set(Kind)
    for activity in ACTIVITIES.values():
        names = captions(activity.cls.uid, "activity_id")
        assert names[str(activity.id)] == activity.name
    for cls in Class:
        found = next(one for one in schema()["classes"].values() if one["uid"] == cls.uid)
        assert found["caption"] == cls.caption
        number, caption = cls.category
        assert (found["category_uid"], found["category_name"]) == (number, caption)
        assert "@deprecated" not in found


@pytest.mark.parametrize("kind", Kind)
def test_numbers_go_with_their_names_and_the_rest_is_unmapped(kind: Kind) -> None:
    entry = entry_of(kind)
    event: Any = event_of(entry)
    assert event["type_uid"] == event["class_uid"] * 100 + event["activity_id"]
    assert captions(event["class_uid"], "severity_id")[str(event["severity_id"])] == event["severity"]
    if "status_id" in event:
        assert captions(event["class_uid"], "status_id")[str(event["status_id"])] == event["status"]
    if event["activity_id"] == OTHER:
        assert event["activity_name"] == kind.value
    assert event["time"] == 1_795_316_400_000
    assert event["metadata"]["uid"] == "example.org/incidents/7"
    assert event["metadata"]["version"] == "1.8.0"
    assert event["unmapped"]["body"] == entry.as_json()["body"]
    assert event["unmapped"]["leaf"] == entry.leaf().hex()


def test_an_intent_and_its_outcome_name_the_same_command() -> None:
    intent, outcome = (event_of(entry_of(kind)) for kind in (Kind.STEP_INTENT, Kind.STEP_OUTCOME))
    assert intent["command_uid"] == outcome["command_uid"]


@pytest.mark.parametrize("kind", Kind)
def test_an_event_is_one_line_of_printable_ascii(kind: Kind) -> None:
    line = Ocsf().record(entry_of(kind, HOSTILE), None)
    assert line.count(b"\n") == 1
    assert line.removesuffix(b"\n").decode("ascii").isprintable()
    event = json.loads(line)
    assert event["message"].isprintable()
    assert event.get("status_detail", "").isprintable()
