"""RFC 5424 by its grammar: header, structured data, message; hostile text in each of them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace

import pytest
from builders.every_kind import HOSTILE, entry_of
from hypothesis import given
from hypothesis import strategies as st

from mimrun.log.entry import Actor, LogEntry
from mimrun.log.export.inert import inert
from mimrun.log.export.sentence import sentence_of
from mimrun.log.export.syslog import Syslog
from mimrun.log.kinds import Kind

# RFC 5424, section 6: the ABNF, as a regular expression over bytes.
NAME = rb"[!#-<>-\\^-~]{1,32}"  # PRINTUSASCII but '=', SP, ']' and '"'
VALUE = rb'(?:[^"\\\]]|\\["\\\]])*'
ELEMENT = rb"\[" + NAME + rb"(?: " + NAME + rb'="' + VALUE + rb'")*\]'
MESSAGE = re.compile(
    rb"<(?P<pri>0|[1-9][0-9]{0,2})>1 "
    rb"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,6}Z) "
    rb"(?P<host>[!-~]{1,255}) (?P<app>[!-~]{1,48}) (?P<proc>[!-~]{1,128}) (?P<msgid>[!-~]{1,32}) "
    rb"(?P<data>(?:" + ELEMENT + rb")+) \xef\xbb\xbf(?P<text>.*)",
    re.DOTALL,
)
PARAM = re.compile(rb"(" + NAME + rb')="(' + VALUE + rb')"')


@dataclass
class Message:
    pri: int
    host: str
    msgid: str
    params: dict[str, str]
    text: str


def parse(line: bytes) -> Message:
    found = MESSAGE.fullmatch(line)
    assert found, line
    params = {
        name.decode("ascii"): re.sub(rb'\\(["\\\]])', rb"\1", value).decode("utf-8")
        for name, value in PARAM.findall(found["data"])
    }
    assert int(found["pri"]) <= 191
    return Message(
        int(found["pri"]),
        found["host"].decode(),
        found["msgid"].decode(),
        params,
        found["text"].decode("utf-8"),
    )


@pytest.mark.parametrize("kind", Kind)
def test_a_message_is_one_line_of_the_grammar_and_tells_the_entry(kind: Kind) -> None:
    entry = entry_of(kind, HOSTILE)
    data = Syslog().record(entry, None)
    assert data.endswith(b"\n")
    assert len(data.decode("utf-8").splitlines()) == 1
    message = parse(data.removesuffix(b"\n"))
    assert message.msgid == kind.value
    assert message.pri // 8 == 13
    assert message.params["seq"] == "7"
    assert message.params["target"] == inert(HOSTILE[:255])
    assert message.params["leaf"] == entry.leaf().hex()
    assert message.text.isprintable()
    body = entry.as_json()["body"]
    assert json.loads(message.text[len(inert(sentence_of(entry))) :]) == body


@given(st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=100))
def test_no_text_ends_its_value(text: str) -> None:
    entry = entry_of(Kind.STEP_OUTCOME, target=text, actor=Actor("person", text, text, text))
    message = parse(Syslog().record(entry, None).removesuffix(b"\n"))
    assert message.params["target"] == message.params["actor"] == inert(text)
    assert set(message.params) == {
        *("log", "seq", "inc", "iseq", "actor", "actorKind", "via", "auth"),
        *("run", "step", "target", "attempt", "epoch", "leaf"),
    }


def test_quotes_brackets_and_backslashes_are_escaped() -> None:
    data = Syslog().record(entry_of(Kind.STEP_OUTCOME, target='a"b]c\\d'), None)
    assert b'target="a\\"b\\]c\\\\\\\\d"' in data


def test_what_somebody_should_look_at_is_more_urgent() -> None:
    def severity(entry: LogEntry) -> int:
        return parse(Syslog().record(entry, None).removesuffix(b"\n")).pri % 8

    outcome = entry_of(Kind.STEP_OUTCOME)
    failed = replace(outcome, body=outcome.body.model_copy(update={"status": "failed"}))
    assert severity(outcome) == 6
    assert severity(failed) == 4
    assert severity(entry_of(Kind.STEP_IN_DOUBT)) == 3
    assert severity(entry_of(Kind.KILLSWITCH_PULLED)) == 2


def test_counted_messages_are_cut_apart_by_their_length() -> None:
    entries = [entry_of(kind, HOSTILE) for kind in Kind]
    stream = b"".join(Syslog(octets=True).record(entry, None) for entry in entries)
    found = []
    while stream:
        length, _, stream = stream.partition(b" ")
        found.append(parse(stream[: int(length)]))
        stream = stream[int(length) :]
    assert [message.msgid for message in found] == [kind.value for kind in Kind]


def test_the_name_of_any_log_is_a_host_name_of_the_grammar() -> None:
    assert parse(Syslog().record(entry_of(Kind.LOG_HEADS), None)[:-1]).host == "example.org/incidents"
