"""Asking a GLPI, and writing back to it: facts, never decisions."""

from __future__ import annotations

import html
import re
from contextlib import suppress
from typing import Final

from connectors.change.fields import Reading, at, words
from connectors.change.glpi.line import plain, read_line, write_line
from connectors.change.glpi.record import CONTENT, Change, record_of
from connectors.change.glpi.settings import STATES, GlpiSettings
from connectors.change.web import Reply, Web
from mimrun.change_system import (
    Added,
    Addition,
    ChangeDraft,
    ChangeRecord,
    ChangeState,
    ChangeSystem,
    LostAnswer,
    Refused,
    Unreachable,
)
from mimrun.connector import Json

ROWS: Final = 50
PAGES: Final = 40
REF: Final = re.compile(r"[1-9][0-9]{0,11}", re.ASCII)
KIND: Final = re.compile(r"[A-Za-z][A-Za-z0-9_\\]{0,80}", re.ASCII)
ITEMS: Final = 200
"""Things of one change that are looked up."""
ID: Final = "2"
"""The number by which searches name the id."""


class Glpi(ChangeSystem[GlpiSettings]):
    """Changes of a GLPI."""

    Settings = GlpiSettings

    def __init__(self, name: str, settings: GlpiSettings) -> None:
        super().__init__(name, settings)
        self._login = settings.login()
        self._web = Web(
            f"{settings.url}/apirest.php/",
            {**settings.client(), **self._login},
            timeout_s=settings.timeout_s,
            ca_file=settings.ca_file,
        )
        self._session = ""

    def read(self, ref: str) -> ChangeRecord:
        """Read a change, its validations, its planned tasks, and what it is about."""
        value = self._change(ref)
        validations = self._rows(f"Change/{ref}/ChangeValidation")
        tasks = [row for row in self._rows(f"Change/{ref}/ChangeTask") if at(row, "begin") or at(row, "end")]
        things = self._rows(f"Change/{ref}/Change_Item")
        if len(things) > ITEMS:
            raise Refused(f"{self.name}: change {ref} is about more than {ITEMS} things")
        items = [self._thing(row) for row in things]
        history = self._rows(f"Change/{ref}/Log") if self.settings.history else None
        return record_of(self.name, Change(value, validations, tasks, items, history), self.settings)

    def find(self, key: str) -> str:
        """Give the number of the change that was made with this key; "" where there is none."""
        wanted = key.replace(" ", "_")
        params = {
            "criteria[0][field]": CONTENT,
            "criteria[0][searchtype]": "contains",
            "criteria[0][value]": f"key={wanted}",
            "forcedisplay[0]": ID,
            "sort": ID,
            "range": f"0-{ROWS - 1}",
        }
        rows = at(self._ask("GET", "search/Change", params=params).value, "data")
        for row in rows if isinstance(rows, list) else []:
            number = str(at(row, ID))
            # The search finds parts of words; only the very key is ours.
            if (
                REF.fullmatch(number)
                and read_line(at(self._change(number), "content"), Reading()).get("key") == wanted
            ):
                return number
        return ""

    def create(self, draft: ChangeDraft) -> str:
        """Make a change, and ask its validators."""
        if draft.type == "standard":
            raise Refused(f"{self.name}: a standard change is made from its template in GLPI; link that one")
        line = write_line({"type": draft.type, "run": draft.run, "digest": draft.digest, "key": draft.key})
        incident = f"Incident: {draft.incident}" if draft.incident else ""
        about = f"Hosts: {', '.join(draft.targets)}" if draft.targets else ""
        urgent = 5 if draft.type == "emergency" else 3
        body: dict[str, Json] = {
            "name": words(draft.title, longest=200).replace("\n", " "),
            "content": _page(draft.justification, incident, about, line),
            "rolloutplancontent": _page(draft.plan),
            "backoutplancontent": _page(draft.backout),
            "checklistcontent": _page(draft.test),
            "urgency": urgent,
            "priority": urgent,
            "status": 1,
        }
        number = at(self._ask("POST", "Change", body={"input": body}).value, "id")
        if not isinstance(number, int):
            raise Refused(f"{self.name}: GLPI made a change and did not say which; look for {draft.key}")
        ref = str(number)
        for user in self.settings.validators:
            # Versions before 11 know the first of these columns, later ones the other two.
            asked: dict[str, Json] = {"changes_id": number, "users_id_validate": user}
            asked |= {
                "itemtype_target": "User",
                "items_id_target": user,
                "comment_submission": f"mimrun {draft.run}",
            }
            self._ask("POST", "ChangeValidation", body={"input": asked})
        kept = read_line(at(self._change(ref), "content"), Reading())
        if kept.get("digest", "") != draft.digest or kept.get("run", "") != draft.run:
            raise Refused(f"{self.name}: change {ref} is made, and GLPI did not keep the line `{line[:60]}…`")
        return ref

    def add(self, ref: str, addition: Addition) -> Added:
        """Add a fact: the end first, and then the follow-up whose key says that all is there."""
        self._change(ref)
        mark = f"[mimrun {addition.key}]"
        if any(mark in plain(at(row, "content")) for row in self._rows(f"Change/{ref}/ITILFollowup")):
            return Added(already=True)
        detail = self._end(ref) if addition.what == "close" else ""
        when = f"{addition.at:%Y-%m-%d %H:%M:%S} UTC" if addition.at is not None else ""
        note: dict[str, Json] = {"itemtype": "Change", "items_id": int(ref), "is_private": 1}
        note["content"] = _page(addition.text, when, addition.url, mark)
        self._ask("POST", "ITILFollowup", body={"input": note})
        return Added(detail=detail)

    def close(self) -> None:
        """End the conversation, and the session with it."""
        if self._session:
            with suppress(Unreachable, Refused, LostAnswer):
                self._web.ask("GET", "killSession", headers={"Session-Token": self._session})
            self._session = ""
        self._web.close()

    def _change(self, ref: str) -> Json:
        if not REF.fullmatch(ref):
            raise Refused(f"{self.name}: {ref!r} is not the number of a change")
        value = self._ask("GET", f"Change/{ref}").value
        if str(at(value, "id")) != ref:
            raise Unreachable(f"{self.name}: change {ref} was answered with something else")
        return value

    def _thing(self, row: Json) -> Json:
        kind, number = at(row, "itemtype"), str(at(row, "items_id"))
        if not isinstance(kind, str) or not KIND.fullmatch(kind) or not REF.fullmatch(number):
            return {"name": None}
        return self._ask("GET", f"{kind}/{number}").value

    def _rows(self, path: str) -> list[Json]:
        """Read a list to its end, part by part."""
        found: list[Json] = []
        for _ in range(PAGES):
            params = {"range": f"{len(found)}-{len(found) + ROWS - 1}"}
            reply = self._ask("GET", path, params=params)
            if not isinstance(reply.value, list):
                raise Unreachable(f"{self.name}: {path} was answered without a list")
            found += reply.value
            total = reply.headers.get("content-range", "").rpartition("/")[2]
            if not total.isdecimal() or len(found) >= int(total) or not reply.value:
                return found
        raise Refused(f"{self.name}: {path} has more than {ROWS * PAGES} rows")

    def _end(self, ref: str) -> str:
        """Close a change, and look whether it is closed; gives what was not done."""
        states = {**STATES, **self.settings.state_map}
        closed = next(key for key, state in states.items() if state is ChangeState.CLOSED)
        try:
            self._ask("PUT", f"Change/{ref}", body={"input": {"id": int(ref), "status": int(closed)}})
        except Refused as exc:
            return str(exc)
        now = str(at(self._change(ref), "status"))
        return "" if now == closed else f"change {ref} is in the state {now} and not closed"

    def _ask(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, str] | None = None,
        body: dict[str, Json] | None = None,
    ) -> Reply:
        """Ask within a session; one that has run out is begun anew, because nothing was begun in it."""
        for fresh in (False, True):
            if fresh or not self._session:
                self._session = self._begin()
            headers = {"Session-Token": self._session}
            reply = self._web.ask(method, path, params=params, body=body, headers=headers, usable=(401,))
            if reply.status != 401:
                return reply
            said = at(reply.value, 0)
            if said != "ERROR_SESSION_TOKEN_INVALID":
                break
        raise Refused(f"{self.name}: the login is not accepted: {words(said, longest=100)}")

    def _begin(self) -> str:
        token = at(self._web.ask("GET", "initSession").value, "session_token")
        if not isinstance(token, str) or not token:
            raise Refused(
                f"{self.name}: GLPI began no session; is its REST interface on, and the login with tokens?"
            )
        return token


def _page(*parts: str) -> str:
    """Make a text for a field that holds HTML: what anybody wrote is shown, and never obeyed."""
    lines = [line for part in parts for line in words(part).splitlines()]
    return "".join(f"<p>{html.escape(line)}</p>" for line in lines)
