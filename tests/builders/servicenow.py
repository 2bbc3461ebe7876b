"""An instance of ServiceNow as its documentation describes it, on a real socket: tables, queries, states, ignored fields.

It knows nothing of mimrun. What it refuses, and how it says so, are the shapes of the Table and Change Management
interfaces of the vendor's reference.
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

Row = dict[str, Any]

NORMAL = {
    "-5": ["-4", "4"],
    "-4": ["-3", "4"],
    "-3": ["-2", "-5", "4"],
    "-2": ["-1", "4"],
    "-1": ["0", "4"],
    "0": ["3"],
}
EMERGENCY = {**NORMAL, "-5": ["-3", "4"]}
LABELS = {"-5": "New", "-4": "Assess", "-3": "Authorize", "-2": "Scheduled", "-1": "Implement", "0": "Review"}
LOGIN = "Basic " + base64.b64encode(b"svc-mimrun:s3cr3t-word").decode()
COLUMNS = {
    "number",
    "short_description",
    "description",
    "type",
    "state",
    "approval",
    "on_hold",
    "start_date",
    "end_date",
    "requested_by",
    "cmdb_ci",
    "backout_plan",
    "justification",
    "implementation_plan",
    "test_plan",
    "unauthorized",
    "correlation_id",
    "correlation_display",
    "assignment_group",
    "risk_impact_analysis",
    "work_start",
    "work_end",
    "close_code",
    "close_notes",
    "work_notes",
}


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")


@dataclass
class Instance:
    """The instance.

    Arguments:
        tables: rows by table; reference columns hold the sys_id of a row of another table.
        read_only: columns that the login may not write: left out, and named in `ignoredFields`.
        hidden: tables that the login may not read.
        fault: answered to everything while it is set.
    """

    tables: dict[str, list[Row]] = field(default_factory=dict)
    read_only: set[str] = field(default_factory=set)
    hidden: set[str] = field(default_factory=lambda: {"sys_audit"})
    fault: Answer | None = None
    conflicts: list[Row] = field(default_factory=list)
    last_run: str = field(default_factory=now)
    server: Answering | None = None
    count: int = 0

    @property
    def url(self) -> str:
        assert self.server is not None
        return self.server.url

    def insert(self, table: str, row: Row) -> Row:
        self.count += 1
        whole = {
            "sys_id": f"{self.count:032x}",
            "sys_mod_count": "0",
            "sys_created_on": now(),
            "sys_updated_on": now(),
        }
        whole |= row
        self.tables.setdefault(table, []).append(whole)
        return whole

    def user(self, name: str) -> str:
        rows = self.tables.get("sys_user", [])
        found = next((row for row in rows if row["user_name"] == name), None)
        return str((found or self.insert("sys_user", {"user_name": name}))["sys_id"])

    def machine(self, name: str) -> str:
        rows = self.tables.get("cmdb_ci", [])
        found = next((row for row in rows if row["name"] == name), None)
        return str((found or self.insert("cmdb_ci", {"name": name}))["sys_id"])

    def change(self, **fields: Any) -> Row:
        """Put a change there, as people over there do."""
        usual = {
            "type": "normal",
            "state": "-2",
            "approval": "approved",
            "on_hold": "false",
            "unauthorized": "false",
        }
        return self.insert("change_request", {"number": f"CHG{self.count + 30000:07d}", **usual, **fields})

    def approve(self, change: Row, account: str, state: str = "approved", comments: str = "") -> Row:
        """An approver says something, in their own session."""
        row = {
            "sysapproval": change["sys_id"],
            "approver": self.user(account),
            "state": state,
            "comments": comments,
        }
        return self.insert("sysapproval_approver", row)

    def affect(self, change: Row, *hosts: str) -> None:
        for host in hosts:
            self.insert("task_ci", {"task": change["sys_id"], "ci_item": self.machine(host)})

    def answer(self, asked: Asked) -> Answer:
        if self.fault is not None:
            return self.fault
        if asked.headers.get("Authorization") != LOGIN:
            return Answer(
                401, {"error": {"message": "User Not Authenticated", "detail": ""}, "status": "failure"}
            )
        parts = asked.path.strip("/").split("/")
        match parts:
            case ["api", "now", "table", table] if asked.method == "GET":
                return self._query(table, asked)
            case ["api", "now", "table", table, id_] if asked.method == "PATCH":
                return self._patch(table, id_, asked)
            case ["api", "sn_chg_rest", "v1", "change", "normal" | "emergency" as kind] if (
                asked.method == "POST"
            ):
                return self._create(kind, asked)
            case ["api", "sn_chg_rest", "v1", "change", id_, "conflict"]:
                return Answer(200, {"result": self._conflict()})
            case ["api", "sn_chg_rest", "v1", "change", id_, "nextstates"]:
                return Answer(200, {"result": self._next(self._by_id("change_request", id_))})
        return Answer(
            400, {"error": {"message": f"Requested URI does not represent any resource: {asked.path}"}}
        )

    def _by_id(self, table: str, id_: str) -> Row:
        return next(row for row in self.tables.get(table, []) if row["sys_id"] == id_)

    def _query(self, table: str, asked: Asked) -> Answer:
        if table in self.hidden:
            return Answer(
                403, {"error": {"message": "Insufficient rights to query records"}, "status": "failure"}
            )
        query = asked.params["sysparm_query"]
        rows = [row for row in self.tables.get(table, []) if self._fits(row, query)]
        start, most = int(asked.params["sysparm_offset"]), int(asked.params["sysparm_limit"])
        fields = asked.params["sysparm_fields"].split(",")
        page = [{name: self._shown(row, name) for name in fields} for row in rows[start : start + most]]
        return Answer(200, {"result": page}, headers={"X-Total-Count": str(len(rows))})

    def _fits(self, row: Row, query: str) -> bool:
        groups: list[list[str]] = []
        for condition in query.split("^"):
            if condition.startswith("ORDERBY"):
                continue
            if condition.startswith("OR") and groups:
                groups[-1].append(condition[2:])
            else:
                groups.append([condition])
        return all(any(self._holds(row, one) for one in group) for group in groups)

    def _holds(self, row: Row, condition: str) -> bool:
        found = re.fullmatch(r"([a-z_]+)(=|LIKE|IN)(.*)", condition, re.DOTALL)
        assert found is not None, condition
        column, how, wanted = found.groups()
        value = str(row.get(column, ""))
        return {"=": value == wanted, "LIKE": wanted in value, "IN": value in wanted.split(",")}[how]

    def _shown(self, row: Row, name: str) -> dict[str, str]:
        column, _, far = name.partition(".")
        value = row.get(column, "")
        if far:
            tables = {
                "approver": "sys_user",
                "requested_by": "sys_user",
                "cmdb_ci": "cmdb_ci",
                "ci_item": "cmdb_ci",
            }
            value = self._by_id(tables[column], value)[far] if value else ""
        return {"value": str(value), "display_value": f"shown {value}"}

    def _patch(self, table: str, id_: str, asked: Asked) -> Answer:
        row, given = self._by_id(table, id_), dict(asked.json)  # type: ignore[call-overload]
        if "work_notes" in given:
            note = {"element_id": id_, "element": "work_notes", "value": given.pop("work_notes")}
            self.insert("sys_journal_field", note)
        state = given.pop("state", None)
        row.update({name: value for name, value in given.items() if name not in self.read_only})
        if state is not None:
            if state not in self._allowed(row):
                return Answer(403, {"error": {"message": "Operation Failed", "detail": "not allowed"}})
            if state == "3" and not (row.get("close_code") and row.get("close_notes")):
                return Answer(
                    403, {"error": {"message": "Data Policy Exception", "detail": "close_code is mandatory"}}
                )
            row["state"] = state
        row["sys_mod_count"] = str(int(row["sys_mod_count"]) + 1)
        return Answer(200, {"result": {name: str(value) for name, value in row.items()}})

    def _allowed(self, row: Row) -> list[str]:
        allowed = (EMERGENCY if row["type"] == "emergency" else NORMAL).get(row["state"], [])
        needs = not row.get("assignment_group") and row["state"] == "-5"
        return [] if needs else allowed

    def _create(self, kind: str, asked: Asked) -> Answer:
        ignored = [name for name in asked.params if name not in COLUMNS or name in self.read_only]
        kept = {name: value for name, value in asked.params.items() if name not in ignored}
        if "requested_by" in kept:
            kept["requested_by"] = self.user(kept["requested_by"])
        if "cmdb_ci" in kept:
            kept["cmdb_ci"] = self.machine(kept["cmdb_ci"])
        row = self.change(**{"type": kind, "state": "-5", "approval": "not requested", **kept})
        shown = {name: {"value": value, "display_value": value} for name, value in row.items()}
        return Answer(200, {"result": {**shown, "__meta": {"ignoredFields": ignored}}})

    def _conflict(self) -> Row:
        # As documented: one that found nothing says "Conflict" and counts one, too.
        said = {"status": "Conflict", "record_count": "1", "job_status": "2", "last_run": self.last_run}
        return {**said, "conflicts": self.conflicts}

    def _next(self, row: Row) -> Row:
        passed = bool(row.get("assignment_group"))
        condition = {"passed": passed, "condition": {"name": "Assignment group is filled", "sys_id": "1"}}
        every = (EMERGENCY if row["type"] == "emergency" else NORMAL).get(row["state"], [])
        moves = [
            [
                {
                    "from_state": row["state"],
                    "to_state": to,
                    "transition_available": passed,
                    "conditions": [condition],
                }
            ]
            for to in every
        ]
        return {"available_states": self._allowed(row), "state_transitions": moves, "state_label": LABELS}


@contextmanager
def running() -> Iterator[Instance]:
    """Run an instance for the length of a test."""
    instance = Instance()
    with answering(instance.answer) as server:
        instance.server = server
        yield instance
