"""A GLPI as the documentation of its REST interface describes it, on a real socket: sessions, parts of lists, escaping.

It knows nothing of mimrun.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from builders.answering import Answer, Answering, Asked, answering

Row = dict[str, Any]
SUBS = {"ChangeValidation", "ChangeTask", "Change_Item", "ITILFollowup", "Log"}


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")


@dataclass
class Instance:
    """The instance.

    Arguments:
        escapes: how often it escapes HTML on its way out.
        hidden: lists that the profile may not see.
        rules: statuses that a rule of the instance does not let be set.
        fault: answered to everything but the beginning of a session while it is set.
    """

    rows: dict[str, dict[int, Row]] = field(default_factory=dict)
    subs: dict[tuple[int, str], list[Row]] = field(default_factory=dict)
    escapes: int = 1
    hidden: set[str] = field(default_factory=set)
    rules: set[int] = field(default_factory=set)
    fault: Answer | None = None
    sessions: set[str] = field(default_factory=set)
    begun: int = 0
    count: int = 10
    server: Answering | None = None

    @property
    def url(self) -> str:
        assert self.server is not None
        return self.server.url

    def insert(self, kind: str, **fields: Any) -> Row:
        self.count += 1
        row = {"id": self.count, "date_mod": now(), **fields}
        self.rows.setdefault(kind, {})[self.count] = row
        return row

    def change(self, content: str = "", **fields: Any) -> Row:
        """Put a change there, as people over there do."""
        usual = {"name": "A change", "status": 7, "global_validation": 3, "users_id_recipient": 6}
        return self.insert("Change", **{**usual, "backoutplancontent": "", **fields, "content": content})

    def sub(self, change: Row, kind: str, **fields: Any) -> Row:
        row = {"id": len(self.subs.get((change["id"], kind), [])) + 1, **fields}
        self.subs.setdefault((change["id"], kind), []).append(row)
        return row

    def validate(self, change: Row, user: int, status: int = 3, comment: str = "", **more: Any) -> Row:
        """A validator answers, in their own session."""
        row = {
            "users_id_validate": user,
            "status": status,
            "comment_validation": comment,
            "validation_date": now(),
        }
        return self.sub(change, "ChangeValidation", **{**row, **more})

    def about(self, change: Row, *hosts: str) -> None:
        for host in hosts:
            computer = self.insert("Computer", name=host)
            self.sub(change, "Change_Item", itemtype="Computer", items_id=computer["id"])

    def answer(self, asked: Asked) -> Answer:
        path = asked.path.removeprefix("/apirest.php/")
        if asked.headers.get("App-Token") != "app-word":
            return Answer(400, ["ERROR_WRONG_APP_TOKEN_PARAMETER", "missing or wrong app_token"])
        if path == "initSession":
            return self._begin(asked)
        if self.fault is not None:
            return self.fault
        token = asked.headers.get("Session-Token", "")
        if token not in self.sessions:
            return Answer(401, ["ERROR_SESSION_TOKEN_INVALID", "session_token seems invalid"])
        if path == "killSession":
            self.sessions.discard(token)
            return Answer(200, True)
        if path == "search/Change":
            return self._search(asked)
        return self._item(path, asked)

    def _begin(self, asked: Asked) -> Answer:
        if asked.headers.get("Authorization") != "user_token us3r-word":
            return Answer(401, ["ERROR_GLPI_LOGIN", "Incorrect username or password"])
        self.begun += 1
        self.sessions.add(f"session-{self.begun}")
        return Answer(200, {"session_token": f"session-{self.begun}"})

    def _item(self, path: str, asked: Asked) -> Answer:
        found = re.fullmatch(r"([A-Za-z_]+)(?:/(\d+))?(?:/([A-Za-z_]+))?", path)
        if found is None:
            return Answer(400, ["ERROR_RESOURCE_NOT_FOUND_NOR_COMMONDBTM", "resource not found"])
        kind, number, sub = found[1], int(found[2] or 0), found[3]
        if asked.method == "POST":
            return self._add(kind, asked)
        if number not in self.rows.get(kind, {}):
            return Answer(404, ["ERROR_ITEM_NOT_FOUND", "Item not found"])
        if sub is not None:
            return self._part(number, sub, asked)
        if asked.method == "PUT":
            return self._put(kind, number, asked)
        return Answer(200, {name: self._out(name, value) for name, value in self.rows[kind][number].items()})

    def _out(self, name: str, value: Any) -> Any:
        if name.endswith("content") and isinstance(value, str):
            for _ in range(self.escapes):
                value = html.escape(value)
        return value

    def _part(self, number: int, sub: str, asked: Asked) -> Answer:
        if sub in self.hidden:
            return Answer(403, ["ERROR_RIGHT_MISSING", "You don't have permission to perform this action."])
        rows = self.subs.get((number, sub), [])
        start, end = (int(part) for part in asked.params["range"].split("-"))
        part = [{n: self._out(n, v) for n, v in row.items()} for row in rows[start : end + 1]]
        if not rows:
            return Answer(200, [])
        status = 200 if len(part) == len(rows) else 206
        return Answer(status, part, headers={"Content-Range": f"{start}-{start + len(part) - 1}/{len(rows)}"})

    def _input(self, asked: Asked) -> Row:
        assert isinstance(asked.json, dict)
        return dict(asked.json["input"])

    def _add(self, kind: str, asked: Asked) -> Answer:
        given = self._input(asked)
        if kind == "Change":
            row = self.change(**{**given, "global_validation": 1, "users_id_recipient": 9})
            return Answer(201, {"id": row["id"], "message": ""})
        change = self.rows["Change"][int(given.get("changes_id") or given["items_id"])]
        if kind == "ChangeValidation":
            # Columns that a version does not have are left out without a word.
            self.validate(change, given["users_id_validate"], 2)
            change["global_validation"] = 2
        else:
            self.sub(change, kind, **given)
        return Answer(201, {"id": 1, "message": ""})

    def _put(self, kind: str, number: int, asked: Asked) -> Answer:
        given = self._input(asked)
        if given.get("status") in self.rules:
            return Answer(400, ["ERROR_GLPI_UPDATE", [{str(number): False, "message": "not allowed"}]])
        self.rows[kind][number].update(given)
        return Answer(200, [{str(number): True, "message": ""}])

    def _search(self, asked: Asked) -> Answer:
        wanted = asked.params["criteria[0][value]"]
        hits = [
            row for row in self.rows.get("Change", {}).values() if wanted in html.unescape(row["content"])
        ]
        return Answer(
            200, {"totalcount": len(hits), "count": len(hits), "data": [{"2": row["id"]} for row in hits]}
        )


@contextmanager
def running() -> Iterator[Instance]:
    """Run an instance for the length of a test."""
    instance = Instance()
    with answering(instance.answer) as server:
        instance.server = server
        yield instance
