"""A Jira Service Management as its documentation describes it, on a real socket: requests, approvals, workflows.

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

LOGIN = "Basic " + base64.b64encode(b"mimrun@example.org:t0ken-word").decode()
Row = dict[str, Any]
WORKFLOW = {
    "Open": ["Awaiting approval", "Canceled"],
    "Awaiting approval": ["Awaiting implementation", "Declined"],
    "Awaiting implementation": ["Implementing", "Canceled"],
    "Implementing": ["Completed", "Failed"],
}


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")


@dataclass
class Site:
    """The site.

    Arguments:
        screen: custom fields that are on the screens; others are refused.
        fault: answered to everything while it is set.
        page: how many approvals a page has.
    """

    issues: dict[str, Row] = field(default_factory=dict)
    approvals: dict[str, list[Row]] = field(default_factory=dict)
    comments: dict[str, list[Row]] = field(default_factory=dict)
    links: dict[str, list[Row]] = field(default_factory=dict)
    screen: set[str] = field(default_factory=lambda: {f"customfield_{n}" for n in range(10050, 10060)})
    fault: Answer | None = None
    page: int = 50
    server: Answering | None = None

    @property
    def url(self) -> str:
        assert self.server is not None
        return self.server.url

    def issue(self, **custom: Any) -> Row:
        """Put a request there, as people over there do."""
        key = f"OPS-{len(self.issues) + 1}"
        status = custom.pop("status", "Awaiting implementation")
        fields = {
            "summary": "A change",
            "status": {"name": status, "statusCategory": {"key": "indeterminate"}},
            "reporter": {"accountId": "acc-responder", "displayName": "Responder"},
            "updated": now(),
            **dict.fromkeys(sorted(self.screen)),
            **custom,
        }
        self.issues[key] = {"key": key, "fields": fields, "changelog": {"total": 0, "histories": []}}
        return self.issues[key]

    def approve(self, issue: Row, name: str, said: dict[str, str], final: str | None = None) -> Row:
        """People answer an approval, each in their own session; `said` is approved, declined or pending by account."""
        words = set(said.values())
        final = final or (
            "declined" if "declined" in words else "pending" if "pending" in words else "approved"
        )
        stamp = {"iso8601": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S+0000"), "epochMillis": 0}
        row = {
            "id": "1",
            "name": name,
            "finalDecision": final,
            "canAnswerApproval": False,
            "approvers": [
                {"approver": {"accountId": who}, "approverDecision": word} for who, word in said.items()
            ],
            "createdDate": stamp,
        }
        if final != "pending":
            row["completedDate"] = stamp
        self.approvals.setdefault(issue["key"], []).append(row)
        return row

    def edit(self, issue: Row, field_: str, value: Any, at: str) -> None:
        """Somebody changes a field over there, which the history keeps."""
        issue["fields"][field_] = value
        row = {
            "created": at,
            "author": {"displayName": "Mallory"},
            "items": [{"fieldId": field_, "to": value}],
        }
        issue["changelog"]["histories"].append(row)
        issue["changelog"]["total"] += 1

    def answer(self, asked: Asked) -> Answer:
        if self.fault is not None:
            return self.fault
        if asked.headers.get("Authorization") != LOGIN:
            return Answer(401, {"errorMessages": ["Client must be authenticated to access this resource."]})
        path = asked.path.strip("/")
        if path == "rest/api/2/search/jql":
            return self._search(asked)
        if path == "rest/servicedeskapi/request" and asked.method == "POST":
            return self._create(asked)
        found = re.fullmatch(r"rest/(?:api/2/issue|servicedeskapi/request)/([A-Z]+-\d+)(?:/(\w+))?", path)
        if found is None or found[1] not in self.issues:
            return Answer(
                404, {"errorMessages": ["Issue does not exist or you do not have permission to see it."]}
            )
        return self._one(found[1], found[2], asked)

    def _one(self, key: str, what: str | None, asked: Asked) -> Answer:
        issue = self.issues[key]
        match (asked.method, what):
            case ("GET", None):
                return Answer(200, issue)
            case ("PUT", None):
                return self._put(issue, asked)
            case ("GET", "approval"):
                return self._approvals(key, asked)
            case ("GET", "comment"):
                start, rows = int(asked.params["startAt"]), self.comments.get(key, [])
                return Answer(
                    200, {"comments": rows[start : start + 50], "total": len(rows), "startAt": start}
                )
            case ("POST", "comment"):
                self.comments.setdefault(key, []).append(dict(asked.json))  # type: ignore[call-overload]
                return Answer(201, {"id": "1"})
            case ("POST", "remotelink"):
                self.links.setdefault(key, []).append(dict(asked.json))  # type: ignore[call-overload]
                return Answer(201, {"id": 1})
            case (_, "transitions"):
                return self._transitions(issue, asked)
        return Answer(405, {"errorMessages": ["method"]})

    def _approvals(self, key: str, asked: Asked) -> Answer:
        start, rows = int(asked.params["start"]), self.approvals.get(key, [])
        part = rows[start : start + self.page]
        last = start + len(part) >= len(rows)
        return Answer(200, {"values": part, "isLastPage": last, "size": len(part), "start": start})

    def _transitions(self, issue: Row, asked: Asked) -> Answer:
        names = WORKFLOW.get(issue["fields"]["status"]["name"], [])
        moves = [
            {"id": str(n), "name": f"To {name}", "to": {"name": name}} for n, name in enumerate(names, 11)
        ]
        if asked.method == "GET":
            return Answer(200, {"transitions": moves})
        wanted = asked.json["transition"]["id"]  # type: ignore[index]
        found = [move for move in moves if move["id"] == wanted]
        if not found:
            return Answer(
                400, {"errorMessages": ["It seems that you have tried to perform a workflow operation"]}
            )
        issue["fields"]["status"] = dict(found[0]["to"])  # type: ignore[call-overload]
        return Answer(204, body=b"")

    def _put(self, issue: Row, asked: Asked) -> Answer:
        given = asked.json["fields"]  # type: ignore[index]
        off = [name for name in given if name not in self.screen]
        if off:
            why = "Field cannot be set. It is not on the appropriate screen, or unknown."
            return Answer(400, {"errorMessages": [], "errors": dict.fromkeys(off, why)})
        issue["fields"].update(given)
        return Answer(204, body=b"")

    def _create(self, asked: Asked) -> Answer:
        given = asked.json
        assert isinstance(given, dict)
        if off := [name for name in given["requestFieldValues"] if name not in ("summary", "description")]:
            return Answer(400, {"errorMessage": f"Field {off[0]} is not on the request type"})
        issue = self.issue(status="Open")
        issue["fields"]["summary"] = given["requestFieldValues"]["summary"]
        return Answer(201, {"issueId": "10001", "issueKey": issue["key"]})

    def _search(self, asked: Asked) -> Answer:
        found = re.fullmatch(r'cf\[(\d+)\] ~ "\\"(.*)\\"" ORDER BY created ASC', asked.params["jql"])
        if found is None:
            return Answer(400, {"errorMessages": [f"Error in the JQL Query: {asked.params['jql']}"]})
        column, words = f"customfield_{found[1]}", set(re.findall(r"\w+", found[2].lower()))
        # As the real one does: words are compared, not the whole text.
        hits = [
            issue
            for issue in self.issues.values()
            if words <= set(re.findall(r"\w+", str(issue["fields"].get(column)).lower()))
        ]
        return Answer(200, {"issues": hits})


@contextmanager
def running() -> Iterator[Site]:
    """Run a site for the length of a test."""
    site = Site()
    with answering(site.answer) as server:
        site.server = server
        yield site
