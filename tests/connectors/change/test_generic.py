"""A tool that nobody knows, spoken to as a file says: a made-up service desk on a real HTTP server."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from builders.answering import Answer, Answering, Asked, answering
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from connectors.change.fields import MISSING
from connectors.change.generic import GenericHttp, GenericHttpSettings
from connectors.change.generic.path import every, one, parse
from mimrun.change_system import (
    Addition,
    ChangeApproval,
    ChangeDraft,
    ChangeState,
    ChangeVote,
    Conflict,
    Refused,
    Unreachable,
    Window,
)

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
LOGIN = "Bearer desk-5d1f00c4"


class Desk:
    """The made-up tool: changes with a list of named fields, approvals by pages, notes."""

    def __init__(self) -> None:
        self.changes: dict[str, dict[str, Any]] = {}
        self.approvals: dict[str, list[dict[str, Any]]] = {}
        self.notes: dict[str, list[str]] = {}
        self.forgets: tuple[str, ...] = ()
        self.meddle = 0

    def answer(self, asked: Asked) -> Answer:  # noqa: PLR0911 - one line for each thing that it knows
        if asked.headers.get("Authorization") != LOGIN:
            return Answer(401, {"error": "who are you?"})
        parts = asked.path.removeprefix("/api/").split("/")
        match asked.method, parts:
            case "POST", ["changes"]:
                return self.made(asked.json)  # type: ignore[arg-type]
            case "GET", ["changes"]:
                rows = [c for c in self.changes.values() if asked.params["ext"] in c["external"]]
                return Answer(200, {"results": [{"no": c["no"], "external": c["external"]} for c in rows]})
            case "GET", ["changes", no] if no in self.changes:
                return Answer(200, self.changes[no], headers={"ETag": f'"{self.changes[no]["rev"]}"'})
            case "PATCH", ["changes", no] if no in self.changes:
                self.changes[no] |= asked.json  # type: ignore[operator]
                return Answer(200, {})
            case "GET", ["changes", no, "approvals"]:
                if self.meddle:
                    self.meddle -= 1
                    self.changes[no]["rev"] += 1
                rows = self.approvals[no]
                return Answer(200, {"total": len(rows), "page": rows[:2]})
            case "GET", ["changes", no, "notes"]:
                return Answer(200, [{"text": text} for text in self.notes[no]])
            case "POST", ["changes", no, "notes"]:
                self.notes[no].append(asked.json["text"])  # type: ignore[index]
                return Answer(201, {})
            case _:
                return Answer(404, {"error": "no such thing"})

    def made(self, body: dict[str, Any]) -> Answer:
        no = f"C-{len(self.changes) + 1}"
        kept = {k: v for k, v in body.items() if k not in self.forgets}
        extra = [e for e in kept.pop("extra") if e["label"] not in self.forgets]
        self.changes[no] = {
            "no": no,
            "rev": 1,
            "phase": {"name": "Waiting"},
            "verdict": "open",
            "clashes": [],
            "checked": "2026-11-22 12:55",
            "stopped": "no",
            "opened_by": {"login": "svc"},
            "after_the_fact": False,
            "extra": extra,
        } | kept
        self.approvals[no], self.notes[no] = [], []
        return Answer(201, {"data": {"no": no}})


MAPPING: dict[str, Any] = {
    "secret_headers": {"Authorization": "env:DESK_LOGIN"},
    "ref_pattern": "C-[0-9]{1,9}",
    "page": "https://desk.example.org/c/{ref}",
    "state_map": {"Waiting": "authorize", "Ready": "scheduled", "Doing": "implement", "Over": "closed"},
    "record": {"path": "/changes/{ref}"},
    "approvals": {"path": "/changes/{ref}/approvals"},
    "fields": {
        "ref": "$.no",
        "type": {"at": "$.kind", "map": {"ECR": "emergency", "NCR": "normal"}},
        "title": "$.headline",
        "state": "$.phase.name",
        "approval": {"at": "$.verdict", "map": {"open": "requested", "yes": "approved", "no": "rejected"}},
        "votes": {
            "from": "approvals",
            "each": "$.page[*]",
            "account": "$.who.login",
            "decision": "$.says",
            "map": {"Y": "approved", "N": "rejected", "": "none", "?": "none"},
            "at": "$.when",
            "zone": "Europe/Berlin",
            "reason": "$.because",
            "total": "$.total",
        },
        "window": {"start": "$.from", "end": "$.to"},
        "on_hold": "$.stopped",
        "conflicts": {"each": "$.clashes[*]", "type": "$.what", "record": "$.with"},
        "conflicts_at": {"at": "$.checked", "zone": "Europe/Berlin"},
        "targets": "$.machines",
        "requested_by": "$.opened_by.login",
        "run": "$.extra[?@.label=='Run'].content",
        "digest": "$.extra[?@.label=='Digest'].content",
        "backout": "$['way back']",
        "retrospective": "$.after_the_fact",
    },
    "absent": ["runbook", "valid_until"],
    "create": {
        "path": "/changes",
        "ref": "$.data.no",
        "body": {
            "headline": "{title}",
            "kind": "ECR",
            "machines": "{targets}",
            "from": "{window_start}",
            "to": "{window_end}",
            "way back": "{backout}",
            "external": "{key}",
            "description": "{plan}\n\nrisk {risk} on {targets}",
            "extra": [{"label": "Run", "content": "{run}"}, {"label": "Digest", "content": "{digest}"}],
        },
    },
    "find": {
        "path": "/changes",
        "params": {"ext": "{key}"},
        "each": "$.results[*]",
        "key": "$.external",
        "ref": "$.no",
    },
    "notes": {"path": "/changes/{ref}/notes", "each": "$[*]", "text": "$.text"},
    "add": {
        "note": [{"method": "POST", "path": "/changes/{ref}/notes", "body": {"text": "{text}"}}],
        "started": [
            {"method": "PATCH", "path": "/changes/{ref}", "body": {"began": "{at}", "phase": {"name": "Doing"}}},
            {"method": "POST", "path": "/changes/{ref}/notes", "body": {"text": "{text}"}},
        ],
        "close": [
            {"method": "PATCH", "path": "/changes/{ref}", "body": {"ok": "{successful}", "end": "{outcome}"}},
            {"method": "POST", "path": "/changes/{ref}/notes", "body": {"text": "{text} {url}"}},
        ],
    },
}  # fmt: skip


def mapping(**other: object) -> dict[str, Any]:
    return {"url": "https://desk.example.org/api", **copy.deepcopy(MAPPING), **other}


def without(field: str) -> dict[str, Any]:
    whole = mapping()
    del whole["fields"][field]
    return whole


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def server(desk: Desk) -> Iterator[Answering]:
    with answering(desk.answer) as server:
        yield server


@pytest.fixture
def tool(server: Answering, monkeypatch: pytest.MonkeyPatch) -> Iterator[GenericHttp]:
    monkeypatch.setenv("DESK_LOGIN", LOGIN)
    settings = GenericHttpSettings.model_validate(mapping(url=f"{server.url}/api"))
    with closing(GenericHttp("desk", settings)) as tool:
        yield tool


def draft(**other: Any) -> ChangeDraft:
    values: dict[str, Any] = {
        "key": "r-7 seq=4",
        "type": "emergency",
        "title": "Fail over {key} \u2603",
        "risk": "high",
        "justification": "db1 is dead",
        "plan": "promote",
        "backout": "rewind",
        "targets": ("db1", "db2"),
        "window": Window(NOON, NOON + timedelta(hours=2)),
        "run": "r-7",
        "digest": "sha256:aa",
    }
    return ChangeDraft(**(values | other))


def test_what_was_made_is_read_back_by_the_mapping(tool: GenericHttp, desk: Desk) -> None:
    ref = tool.create(draft())
    desk.approvals[ref] = [
        {"who": {"login": "alice"}, "says": "Y", "when": "2026-11-22 13:05", "because": "fine"},
        {"who": {"login": "bob"}, "says": "?", "when": None, "because": None},
    ]
    desk.changes[ref] |= {
        "verdict": "yes",
        "phase": {"name": "Ready"},
        "clashes": [{"what": "freeze", "with": 9}],
    }
    record = tool.read(ref)
    assert record.unreadable == {}
    assert (record.ref, record.url) == ("C-1", "https://desk.example.org/c/C-1")
    assert (record.type, record.title) == ("emergency", "Fail over {key} \u2603")
    assert (record.state, record.raw_state) == (ChangeState.SCHEDULED, "Ready")
    assert record.approval is ChangeApproval.APPROVED
    assert record.votes == (
        ChangeVote("alice", "approved", NOON + timedelta(minutes=5), "fine"),
        ChangeVote("bob", None),
    )
    assert record.window == Window(NOON, NOON + timedelta(hours=2))
    assert record.conflicts == (Conflict("freeze", "9"),)
    assert record.conflicts_at == NOON - timedelta(minutes=5)
    assert (record.targets, record.run, record.digest) == (("db1", "db2"), "r-7", "sha256:aa")
    assert (record.requested_by, record.backout, record.version) == ("svc", "rewind", '"1"')
    assert (record.on_hold, record.retrospective) == (False, False)
    assert record.absent == frozenset({"runbook", "valid_until"})
    assert desk.changes[ref]["description"] == "promote\n\nrisk high on db1, db2"


def test_a_record_is_found_by_its_whole_key(tool: GenericHttp) -> None:
    tool.create(draft(key="r-7 seq=40"))
    assert tool.find("r-7 seq=4") == ""
    ref = tool.create(draft())
    assert tool.find("r-7 seq=4") == ref == "C-2"


def test_additions_are_made_once(tool: GenericHttp, desk: Desk) -> None:
    ref = tool.create(draft())
    began = Addition(what="started", key="r-7 seq=8", text="work began", at=NOON)
    over = Addition(what="close", key="r-7 seq=9", text="done", url="https://m.example/r-7", successful=False)
    assert [tool.add(ref, one).already for one in (began, began, over, over)] == [False, True, False, True]
    assert desk.notes[ref] == [
        "work began [mimrun r-7 seq=8]",
        "done [mimrun r-7 seq=9] https://m.example/r-7",
    ]
    change = desk.changes[ref]
    assert (change["began"], change["ok"], change["end"]) == ("2026-11-22T12:00:00Z", False, "failed")
    assert (
        "does not say how link is written" in tool.add(ref, Addition(what="link", key="k", text="x")).detail
    )


@pytest.mark.parametrize("lost", ["Run", "Digest"])
def test_a_tool_that_forgets_what_it_was_given_is_found_out(tool: GenericHttp, desk: Desk, lost: str) -> None:
    desk.forgets = (lost,)
    with pytest.raises(Refused, match=f"C-1 is made, and does not hold {lost.lower()}"):
        tool.create(draft())
    assert tool.find("r-7 seq=4") == "C-1"


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("kind", "Odd", "type"),
        ("kind", None, "type"),
        ("phase", {}, "state"),
        ("phase", {"name": "Parked"}, "state"),
        ("verdict", "maybe", "approval"),
        ("from", "2026-11-22 12:00", "window"),
        ("to", None, "window"),
        ("to", "2026-11-22T11:00:00Z", "window"),
        ("stopped", "perhaps", "on_hold"),
        ("clashes", "none", "conflicts"),
        ("clashes", None, "conflicts"),
        ("clashes", [{}], "conflicts"),
        ("checked", "2026-10-25 02:30", "conflicts_at"),
        ("machines", {"db1": 1}, "targets"),
        ("machines", ["db1", "d\u200bb2"], "targets"),
        ("opened_by", {}, "requested_by"),
        ("extra", [], "run"),
        ("extra", [{"label": "Run", "content": "a"}, {"label": "Run", "content": "b"}], "run"),
        ("after_the_fact", None, "retrospective"),
    ],
)
def test_every_field_in_a_wrong_form_is_named(
    tool: GenericHttp, desk: Desk, field: str, value: object, named: str
) -> None:
    ref = tool.create(draft())
    desk.changes[ref][field] = value
    assert named in tool.read(ref).unreadable
    del desk.changes[ref][field]
    assert named in tool.read(ref).unreadable


@pytest.mark.parametrize(
    "rows",
    [
        [{"who": {"login": "alice"}, "says": "Yes!", "when": None}],
        [{"who": {}, "says": "Y", "when": None}],
        [{"says": "Y", "when": None}],
        ["alice"],
        [{"who": {"login": "alice"}, "says": "Y", "when": "soon"}],
        [{"who": {"login": f"a{n}"}, "says": "Y", "when": None} for n in range(3)],
    ],
)
def test_one_vote_that_cannot_be_read_makes_all_of_them_so(
    tool: GenericHttp, desk: Desk, rows: list[dict[str, Any]]
) -> None:
    ref = tool.create(draft())
    desk.approvals[ref] = rows
    record = tool.read(ref)
    assert "votes" in record.unreadable
    assert record.votes == ()


@pytest.mark.parametrize("field", sorted(set(MAPPING["fields"]) - {"ref", "title", "backout"}))
def test_a_field_that_the_file_does_not_speak_of_is_unreadable(
    tool: GenericHttp, desk: Desk, server: Answering, field: str
) -> None:
    ref = tool.create(draft())
    settings = GenericHttpSettings.model_validate(without(field) | {"url": f"{server.url}/api"})
    with closing(GenericHttp("desk", settings)) as other:
        record = other.read(ref)
    assert record.unreadable == {
        field: "changes.yaml does not say where it stands, nor that the tool does not have it"
    }


def test_a_record_that_was_changed_after_it_was_approved_is_not_approved(
    tool: GenericHttp, desk: Desk, server: Answering
) -> None:
    ref = tool.create(draft())
    desk.approvals[ref] = [{"who": {"login": "alice"}, "says": "Y", "when": "2026-11-22 13:05"}]
    whole = mapping(url=f"{server.url}/api")
    whole["fields"]["edited_at"] = "$.edited"
    with closing(GenericHttp("desk", GenericHttpSettings.model_validate(whole))) as other:
        desk.changes[ref]["edited"] = "2026-11-22T12:04:00Z"
        assert other.read(ref).unreadable.get("votes", "").startswith("the answer has no such field")
        desk.approvals[ref][0]["because"] = ""
        assert other.read(ref).unreadable == {}
        for late in ("2026-11-22T12:06:00Z", None, "soon"):
            desk.changes[ref]["edited"] = late
            assert "votes" in other.read(ref).unreadable


def test_an_answer_about_another_record_is_refused(tool: GenericHttp, desk: Desk) -> None:
    ref = tool.create(draft())
    desk.changes[ref]["no"] = "C-9"
    with pytest.raises(Refused, match="asked for C-1, and the answer is about 'C-9'"):
        tool.read(ref)


def test_a_record_that_is_changed_while_it_is_read_is_read_again(tool: GenericHttp, desk: Desk) -> None:
    ref = tool.create(draft())
    desk.meddle = 2
    assert tool.read(ref).version == '"3"'
    desk.meddle = 100
    with pytest.raises(Unreachable, match="is being changed while it is read"):
        tool.read(ref)


@pytest.mark.parametrize("ref", ["..", "C-1/notes", "C-1?x=y", "C-1\n", "", "C-x", "C-1#", "C-\u0661"])
def test_what_is_no_reference_is_not_asked_for(tool: GenericHttp, server: Answering, ref: str) -> None:
    with pytest.raises(Refused, match="is not a reference"):
        tool.read(ref)
    with pytest.raises(Refused, match="is not a reference"):
        tool.add(ref, Addition(what="note", key="k", text="x"))
    assert server.seen == []


def test_a_wide_reference_is_escaped_in_the_address(server: Answering, desk: Desk, tool: GenericHttp) -> None:
    settings = GenericHttpSettings.model_validate(mapping(url=f"{server.url}/api", ref_pattern="C [0-9;=x]+"))
    with closing(GenericHttp("desk", settings)) as wide, pytest.raises(Refused, match="no such record"):
        wide.read("C 1;x=2")
    assert server.seen[-1].path == "/api/changes/C%201%3Bx%3D2"


def test_a_login_that_is_not_accepted_is_refused(server: Answering, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESK_LOGIN", "Bearer wrong-0a0a0a")
    settings = GenericHttpSettings.model_validate(mapping(url=f"{server.url}/api"))
    with (
        closing(GenericHttp("desk", settings)) as tool,
        pytest.raises(Refused, match="login is not") as caught,
    ):
        tool.read("C-1")
    assert "0a0a0a" not in str(caught.value)


def edited(change: object) -> dict[str, Any]:
    whole = mapping()
    change(whole)  # type: ignore[operator]
    return whole


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m["fields"].update(statee="$.x"), "statee"),
        (lambda m: m["fields"].update(state="phase"), r"begins with \$"),
        (lambda m: m["fields"].update(state="$..phase"), "is no step"),
        (lambda m: m["fields"].update(state="$.phase[?@.x>1]"), "is no step"),
        (lambda m: m["fields"].update(state={"at": "$.a", "from": "elsewhere"}), "approvals"),
        (lambda m: m["fields"]["type"].update(map={"x": "urgent"}), "standard"),
        (lambda m: m["fields"]["type"].update(map={}), "map"),
        (lambda m: m["fields"]["votes"].update(each="$.page"), "each"),
        (lambda m: m["fields"]["votes"].update(map={"Y": "yes"}), "approved"),
        (lambda m: m["fields"]["conflicts_at"].update(zone="Europe/Nowhere"), "no time zone"),
        (lambda m: m["fields"].pop("ref"), "ref"),
        (lambda m: m["fields"].update(edited_at="$.x") or m["fields"]["votes"].pop("at"), "edited_at"),
        (lambda m: m.update(absent=["votes"]), "nothing can be decided without votes"),
        (lambda m: m.update(absent=["colour"]), "no field that is decided from"),
        (lambda m: m.update(absent=["run", "runbook", "valid_until"]), "run is said to be absent"),
        (lambda m: m.pop("approvals"), "approvals says no request"),
        (lambda m: m["record"].update(path="/changes/{key}"), "is not replaced in its path"),
        (lambda m: m["record"].update(path="/changes"), "no record in particular"),
        (lambda m: m["record"].update(path="changes/{ref}"), "path"),
        (lambda m: m["record"].update(path="/changes/{ref}?x=1"), "path"),
        (lambda m: m["record"].update(method="POST"), "is a GET"),
        (lambda m: m["create"]["body"].update(x="{colour}"), "is not replaced in its params and body"),
        (lambda m: m["create"]["body"].pop("external"), "has to hold"),
        (lambda m: m["create"].update(path="/changes/{title}"), "is not replaced in its path"),
        (lambda m: m.pop("find"), "would make a record twice"),
        (lambda m: m["find"].update(params={}), "GET with"),
        (lambda m: m.pop("notes"), "would write a note twice"),
        (lambda m: m["add"]["note"][0].update(body={"text": "hello"}), "has to write"),
        (lambda m: m["add"].update(dance=[]), "dance"),
        (lambda m: m.update(ref_pattern=".*"), "also takes what is no reference"),
        (lambda m: m.update(ref_pattern="("), "no regular expression"),
        (lambda m: m.update(page="https://x/{key}"), "only {ref}"),
        (lambda m: m.update(headers={"X Y": "z"}), "not a header's name"),
        (lambda m: m.update(secret_headers={"Authorization": "Bearer x"}), "secret_headers"),
    ],
)  # fmt: skip
def test_a_mapping_that_cannot_work_is_refused_when_it_is_read(change: object, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        GenericHttpSettings.model_validate(edited(change))


DOCUMENT = {"a": {"b c": [1, {"k": "x", "v": 1}, {"k": "y'", "v": 2}]}, "n": None}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("$", [DOCUMENT]),
        ("$.n", [None]),
        ("$.a['b c'][0]", [1]),
        ("$.a['b c'][-1].v", [2]),
        ("$.a['b c'][*].v", [1, 2]),
        ("$.a['b c'][?@.k=='x'].v", [1]),
        ("$.a['b c'][?@.k == 'y\\'']['v']", [2]),
        ("$.a['b c'][9]", []),
        ("$.a.b", []),
        ("$.n.x", []),
        ("$.n[*]", []),
    ],
)
def test_a_path_gives_what_stands_there(path: str, found: list[object]) -> None:
    assert every(DOCUMENT, path) == found  # type: ignore[arg-type]


def test_a_path_to_one_tells_none_one_and_many_apart() -> None:
    assert one(DOCUMENT, "$.x") is MISSING  # type: ignore[arg-type]
    assert one(DOCUMENT, "$.n") is None  # type: ignore[arg-type]
    assert one(DOCUMENT, "$.a['b c'][*].v") == [1, 2]  # type: ignore[arg-type]
    assert one(MISSING, "$") is MISSING


@given(st.text(alphabet="$.[]'*?@=ab01-\\ ", max_size=30))
def test_every_text_is_a_path_or_is_refused(text: str) -> None:
    try:
        steps = parse(text)
    except ValueError:
        return
    assert text.startswith("$")
    assert len(steps) <= len(text)
    assert isinstance(every(DOCUMENT, text), list)  # type: ignore[arg-type]
    assert not re.search(r"\.\.", re.sub(r"'[^']*'", "", text))
