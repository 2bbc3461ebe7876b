"""A Freshservice account as its documentation describes it, on a real socket: changes, approvals, notes, limits.

It knows nothing of mimrun.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from builders.answering import Answer, Answering, Asked, answering

LOGIN = "Basic " + base64.b64encode(b"k3y-word-9:X").decode()
Row = dict[str, Any]


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Account:
    """The account.

    Arguments:
        columns: custom fields that the form of changes has; others are dropped without a word.
        planning_on_create: answer 500 to planning fields that are sent with a new change, as some accounts do.
        mandatory: custom fields without which nothing is closed.
        fault: answered to everything while it is set.
        limits: so many next answers are 429.
    """

    changes: dict[int, Row] = field(default_factory=dict)
    approvals: dict[int, list[Row]] = field(default_factory=dict)
    notes: dict[int, list[Row]] = field(default_factory=dict)
    columns: set[str] = field(
        default_factory=lambda: {"mimrun_run", "mimrun_digest", "mimrun_targets", "mimrun_key"}
    )
    mandatory: set[str] = field(default_factory=set)
    fault: Answer | None = None
    limits: int = 0
    server: Answering | None = None
    count: int = 1000

    @property
    def url(self) -> str:
        assert self.server is not None
        return self.server.url

    def change(self, **fields: Any) -> Row:
        """Put a change there, as people over there do."""
        self.count += 1
        row: Row = {
            "id": self.count,
            "subject": "A change",
            "status": 4,
            "change_type": 3,
            "requester_id": 77,
            "planned_start_date": None,
            "planned_end_date": None,
            "planning_fields": {},
            "custom_fields": dict.fromkeys(sorted(self.columns)),
            "updated_at": now(),
            **fields,
        }
        self.changes[self.count] = row
        return row

    def approve(self, change: Row, approver: int, status: str = "approved", remark: str | None = None) -> Row:
        """An approver says something, in their own session."""
        row = {
            "id": len(self.approvals.get(change["id"], [])) + 1,
            "approver_id": approver,
            "approval_status": {"id": 1, "name": status},
            "latest_remark": remark,
            "updated_at": now(),
        }
        self.approvals.setdefault(change["id"], []).append(row)
        return row

    def answer(self, asked: Asked) -> Answer:
        if self.fault is not None:
            return self.fault
        if self.limits:
            self.limits -= 1
            return Answer(429, {"message": "You have exceeded the limit"}, headers={"Retry-After": "0"})
        if asked.headers.get("Authorization") != LOGIN:
            return Answer(401, {"code": "invalid_credentials", "message": "You have to be logged in"})
        path = asked.path.removeprefix("/api/v2/")
        if path == "changes":
            return (
                self._create(asked)
                if asked.method == "POST"
                else self._page(asked, "changes", self._newest())
            )
        found = re.fullmatch(r"changes/(\d+)(?:/(\w+))?", path)
        if found is None or int(found[1]) not in self.changes:
            return Answer(404, body=b"")
        return self._one(int(found[1]), found[2], asked)

    def _one(self, number: int, what: str | None, asked: Asked) -> Answer:
        lists = {"approvals": self.approvals, "notes": self.notes}
        match (asked.method, what):
            case ("GET", None):
                return Answer(200, {"change": self.changes[number]})
            case ("PUT", None):
                return self._put(self.changes[number], asked)
            case ("GET", "approvals" | "notes" as name):
                return self._page(asked, name, lists[name].get(number, []))
            case ("POST", "approval_groups"):
                return self._group(number, asked)
            case ("POST", "notes"):
                return self._note(number, str(self._json(asked)["body"]))
        return Answer(405, {"code": "method_not_allowed"})

    def _note(self, number: int, body: str) -> Answer:
        text = re.sub(r"<[^>]*>", " ", body).replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">")
        self.notes.setdefault(number, []).append({"body": body, "body_text": text})
        return Answer(201, {"note": {"body": body}})

    def _json(self, asked: Asked) -> Row:
        assert isinstance(asked.json, dict)
        return asked.json

    def _newest(self) -> list[Row]:
        return [self.changes[number] for number in sorted(self.changes, reverse=True)]

    def _page(self, asked: Asked, name: str, rows: list[Row]) -> Answer:
        page, most = int(asked.params.get("page", 1)), int(asked.params.get("per_page", 30))
        part = rows[(page - 1) * most : page * most]
        more = (
            {"Link": f'<{self.url}{asked.path}?page={page + 1}>; rel="next"'}
            if page * most < len(rows)
            else {}
        )
        return Answer(200, {name: part}, headers=more)

    def _create(self, asked: Asked) -> Answer:
        given = self._json(asked)
        if "planning_fields" in given:
            return Answer(500, {"code": "internal_error"})
        if missing := [name for name in ("subject", "description", "requester_id") if not given.get(name)]:
            return Answer(400, {"description": "Validation failed", "errors": [{"field": missing[0]}]})
        custom = {
            name: value for name, value in given.pop("custom_fields", {}).items() if name in self.columns
        }
        row = self.change(**{**given, "custom_fields": {**dict.fromkeys(sorted(self.columns)), **custom}})
        return Answer(201, {"change": row})

    def _put(self, row: Row, asked: Asked) -> Answer:
        given = self._json(asked)
        custom = {
            name: value for name, value in given.pop("custom_fields", {}).items() if name in self.columns
        }
        row["custom_fields"] = {**row["custom_fields"], **custom}
        if given.get("status") == 6 and (
            missing := [n for n in self.mandatory if not row["custom_fields"].get(n)]
        ):
            errors = [{"field": missing[0], "message": "It should not be blank", "code": "missing_field"}]
            return Answer(400, {"description": "Validation failed", "errors": errors})
        planning = given.pop("planning_fields", {})
        for name, text in planning.items():
            row["planning_fields"][name] = {
                **text,
                "description_text": re.sub(r"<[^>]*>", "\n", text["description"]),
            }
        row.update(given)
        row["updated_at"] = now()
        return Answer(200, {"change": row})

    def _group(self, number: int, asked: Asked) -> Answer:
        for approver in self._json(asked)["approver_ids"]:
            self.approve(self.changes[number], approver, "requested")
        return Answer(201, {"approval_group": {"id": 1}})


@contextmanager
def running() -> Iterator[Account]:
    """Run an account for the length of a test."""
    account = Account()
    with answering(account.answer) as server:
        account.server = server
        yield account
