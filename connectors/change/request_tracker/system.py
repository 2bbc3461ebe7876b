"""Asking a Request Tracker, and writing back to it: facts, never decisions."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from connectors.change.fields import Missing, at, words
from connectors.change.request_tracker.history import Event, answer, event, marked
from connectors.change.request_tracker.record import Asked, Ticket, all_said, record_of
from connectors.change.request_tracker.settings import FIELDS, RequestTrackerSettings
from connectors.change.request_tracker.written import (
    comment,
    content,
    custom_fields,
    links,
    quoted,
    rt_time,
    same,
    took,
    values,
)
from connectors.change.web import Reply, Web
from mimrun.change_system import (
    Added,
    Addition,
    ChangeDraft,
    ChangeRecord,
    ChangeState,
    ChangeSystem,
    Refused,
    Unreachable,
    read_secret,
)
from mimrun.connector import Json

APPROVALS: Final = "___Approvals"
KEY: Final = re.compile(r"[\w .:=/@+-]{1,120}", re.ASCII)
REF: Final = re.compile(r"[1-9][0-9]{0,11}", re.ASCII)
ROWS: Final = 100
"""Rows of a page; RT gives no more."""
PAGES: Final = 50
"""Pages of one history that are read."""
TRIES: Final = 3
"""How often a ticket is read or written anew that somebody changes meanwhile."""
SUBJECT: Final = 180
EVENT: Final = "Type,ObjectId,Creator,Created,Field,OldValue,NewValue,Data"


class RequestTracker(ChangeSystem[RequestTrackerSettings]):
    """Changes as tickets of a Request Tracker 5."""

    Settings = RequestTrackerSettings

    def __init__(self, name: str, settings: RequestTrackerSettings) -> None:
        super().__init__(name, settings)
        token = read_secret(settings.token)
        self._web = Web(
            f"{settings.url}/REST/2.0/",
            {"Authorization": f"token {token.reveal()}"},
            timeout_s=settings.timeout_s,
            ca_file=settings.ca_file,
        )
        self._ids: dict[str, str] = {}
        self._known = False

    def read(self, ref: str) -> ChangeRecord:
        """Read a ticket, its history, and the approval tickets that it depends on."""
        return record_of(self.name, self._whole(ref), self.settings)

    def find(self, key: str) -> str:
        """Give the number of the ticket that mimrun's own account made with this key; "" where there is none.

        Anybody can write the key into a ticket of their own: those made by another account are not it.
        """
        self._require_key(key)
        self._require_account()
        self._require_fields()
        field = quoted(f"CF.{{{self.settings.field('key')}}}")
        query = f"Queue = {quoted(self.settings.queue)} AND Creator = '__CurrentUser__' AND {field} = {quoted(key)}"
        fields = {"fields": "Creator", "orderby": "id", "order": "ASC"}
        found = self._web.ask("GET", "tickets", params={"query": query, "per_page": str(ROWS), **fields})
        items = at(found.value, "items")
        for item in items if isinstance(items, list) else []:
            who, ref = at(item, "Creator", "id"), str(at(item, "id"))
            if (
                isinstance(who, str)
                and who.casefold() == self.settings.account.casefold()
                and REF.fullmatch(ref)
            ):
                return ref
        return ""

    def create(self, draft: ChangeDraft) -> str:
        """Make a ticket whose approval is asked for, and look whether RT took every field."""
        self._require_key(draft.key)
        self._require_account()
        ids = self._require_fields()
        custom = {self.settings.field(name): text for name, text in custom_fields(draft).items() if text}
        custom.pop("", None)
        made = self._web.ask(
            "POST",
            "ticket",
            body={
                "Queue": self.settings.queue,
                "Subject": words(draft.title, longest=SUBJECT).replace("\n", " "),
                "Status": self.settings.asked,
                "ContentType": "text/plain",
                "Content": content(draft),
                # By their ids: by a name RT takes the first field in it, which may be another queue's.
                "CustomFields": {ids[name]: text for name, text in custom.items()},
            },
        )
        ref = str(at(made.value, "id"))
        kept = values(self._ticket(ref).value)
        lost = sorted(name for name, text in custom.items() if not same(kept.get(name), text))
        if lost:
            raise Refused(
                f"{self.name}: ticket {ref} is made, and Request Tracker did not take {', '.join(lost)} as it was "
                f"given; look at the rights and the time zone of {self.settings.account} (deploy/rt/setup --check)"
            )
        return ref

    def add(self, ref: str, addition: Addition) -> Added:
        """Add a fact: times, links and the state first, and then the comment whose key says that all is there."""
        self._require_key(addition.key)
        self._require_account()
        for _ in range(TRIES):
            reply = self._ticket(ref)
            events = self._history(ref, reply)
            if marked(events, addition.key, self.settings.account):
                return Added(already=True)
            detail = self._put(ref, reply, addition)
            if detail is not None:
                break
        else:
            raise Unreachable(
                f"{self.name}: ticket {ref} is being changed by others again and again; try later"
            )
        self._web.ask(
            "POST",
            f"ticket/{ref}/comment",
            body={
                "ContentType": "text/plain",
                "Subject": f"mimrun: {addition.what} [mimrun {addition.key}]",
                "Content": comment(addition),
            },
        )
        return Added(detail=detail)

    def close(self) -> None:
        """End the conversation."""
        self._web.close()

    def _whole(self, ref: str) -> Ticket:
        """Read a ticket with all that its record is made from, as they were at one moment."""
        for _ in range(TRIES):
            reply = self._ticket(ref)
            events = self._history(ref, reply)
            if events and events[-1].id == _version(reply):
                asked, others = self._approvals(ref)
                ticket = Ticket(ref, reply.value, str(_version(reply)), events, asked, others)
                comments = {s.comment for s in all_said(ticket, self.settings) if s.comment is not None}
                reasons = {number: self._text(number) for number in sorted(comments)[:10]}
                return Ticket(ref, reply.value, ticket.etag, events, asked, others, reasons)
        raise Unreachable(f"{self.name}: ticket {ref} is being changed while it is read; ask again")

    def _ticket(self, ref: str) -> Reply:
        """Read a ticket of the queue of changes, and no other."""
        if not REF.fullmatch(ref):
            raise Refused(f"{self.name}: {ref!r} is not the number of a ticket")
        reply = self._web.ask("GET", f"ticket/{ref}", params={"fields[Queue]": "Name"})
        number, queue = str(at(reply.value, "id")), at(reply.value, "Queue", "Name")
        if number != ref:
            raise Refused(f"{self.name}: ticket {ref} was merged into another one; name that")
        if queue != self.settings.queue or at(reply.value, "Type") != "ticket":
            # Who may approve is said for that queue alone.
            raise Refused(f"{self.name}: ticket {ref} is not a change of queue {self.settings.queue}")
        return reply

    def _history(self, ref: str, reply: Reply) -> tuple[Event, ...]:
        """Read the history of a ticket up to its version; a row that cannot be relied on makes it unreadable."""
        wanted, found = _version(reply), dict[int, Event]()
        for page in range(1, PAGES + 1):
            params = {
                "fields": EVENT,
                "per_page": str(ROWS),
                "page": str(page),
                "orderby": "id",
                "order": "ASC",
            }
            rows = at(self._web.ask("GET", f"ticket/{ref}/history", params=params).value, "items")
            if not isinstance(rows, list):
                raise Refused(f"{self.name}: the history of ticket {ref} is no list")
            for row in rows:
                one = event(row, ref)
                if one is None:
                    raise Refused(f"{self.name}: the history of ticket {ref} has a row that cannot be read")
                found[one.id] = one
            # Rows that this login may not see are missing from a page, so that a short one need not be the last.
            if found and max(found) >= wanted:
                return tuple(found[number] for number in sorted(found))
        raise Refused(
            f"{self.name}: the history of ticket {ref} has more than {PAGES * ROWS} rows, or ends too early"
        )

    def _approvals(self, ref: str) -> tuple[tuple[Asked, ...], tuple[str, ...]]:
        """Read the tickets that a ticket depends on: approvals, and the numbers of others."""
        params = {"query": f"DependedOnBy = {ref}", "fields": "Type,Queue", "fields[Queue]": "Name"}
        items = at(self._web.ask("GET", "tickets", params={**params, "per_page": str(ROWS)}).value, "items")
        asked, others = [], []
        for item in items if isinstance(items, list) else []:
            number = str(at(item, "id"))
            if at(item, "Type") == "approval" and at(item, "Queue", "Name") == APPROVALS:
                asked.append(self._asked(number))
            else:
                others.append(number)
        return tuple(asked), tuple(others)

    def _asked(self, ref: str) -> Asked:
        reply = self._web.ask("GET", f"ticket/{ref}")
        events = self._history(ref, reply)
        status, links = str(at(reply.value, "Status")), at(reply.value, "_hyperlinks")
        rows = links if isinstance(links, list) else []
        parents = tuple(str(at(row, "id")) for row in rows if at(row, "ref") == "depended-on-by")
        moved = any(one.kind in ("AddLink", "DeleteLink") and one.field == "DependedOnBy" for one in events)
        return Asked(ref, status, answer(events, status), moved, parents)

    def _text(self, number: int) -> str:
        """Read a comment, for people."""
        query = json.dumps([{"field": "TransactionId", "value": number}])
        params = {"query": query, "fields": "Content,ContentType", "per_page": "20"}
        items = at(self._web.ask("GET", "attachments", params=params).value, "items")
        texts = (
            [at(i, "Content") for i in items if at(i, "ContentType") == "text/plain"]
            if isinstance(items, list)
            else []
        )
        return words(texts[0], longest=1000) if texts else ""

    def _put(self, ref: str, reply: Reply, addition: Addition) -> str | None:
        """Write the fields that an addition changes; None where somebody changed the ticket first."""
        fields = self._changes(reply.value, addition)
        if not fields:
            return ""
        put = self._web.ask(
            "PUT",
            f"ticket/{ref}",
            body=dict(fields),
            headers={"If-Match": reply.headers.get("etag", "")},
            usable=(412,),
        )
        if put.status == 412:
            return None
        said = "; ".join(str(line) for line in put.value) if isinstance(put.value, list) else ""
        kept = self._ticket(ref).value
        lost = [name for name, text in fields.items() if not took(kept, name, text)]
        return words(f"{', '.join(lost)} was not taken: {said}", longest=500) if lost else ""

    def _changes(self, ticket: Json, addition: Addition) -> Mapping[str, str]:
        """Say what an addition changes in a ticket that stands as this one does."""
        s, now = self.settings, str(at(ticket, "Status"))
        match addition.what:
            case "link" if addition.url and addition.url not in links(ticket):
                return {"AddRefersTo": addition.url}
            case "started":
                begun = {"Status": s.begun} if s.begun and now in s.approved else {}
                return {**begun, **({"Started": rt_time(addition.at)} if addition.at else {})}
            case "close" if s.state(now) is not ChangeState.CLOSED:
                return {"Status": s.done if addition.successful else s.failed}
            case _:
                return {}

    def _require_key(self, key: str) -> None:
        if not KEY.fullmatch(key):
            raise Refused(
                f"{self.name}: {words(key, longest=60)!r} cannot be a key: letters, digits and .:=/@+- are"
            )

    def _require_account(self) -> None:
        """Make sure that the token is the account's own: by its name mimrun knows what it has written already.

        RT shows an account its own time zone, and nobody else's. Times that are written are read in that zone.
        """
        if self._known:
            return
        account = self.settings.account
        zone = at(self._web.ask("GET", f"user/{quote(account, safe='')}").value, "Timezone")
        if isinstance(zone, Missing):
            raise Refused(
                f"{self.name}: the token is not that of {account}; name the account that it belongs to"
            )
        if zone not in ("", None, "UTC", "Etc/UTC", "GMT"):
            raise Refused(
                f"{self.name}: {account} has the time zone {words(zone, longest=60)} in Request Tracker, in which "
                "the times that mimrun writes would be others; make it UTC"
            )
        self._known = True

    def _require_fields(self) -> dict[str, str]:
        """Give the ids of the queue's custom fields by name: RT leaves out what it does not know without a word."""
        if self._ids:
            return self._ids
        queue = self._web.ask("GET", f"queue/{quote(self.settings.queue, safe='')}").value
        rows = at(queue, "TicketCustomFields")
        there = [(at(row, "name"), str(at(row, "id"))) for row in rows] if isinstance(rows, list) else []
        named = [called for name in FIELDS if (called := self.settings.field(name))]
        counted = {called: sum(name == called for name, _ in there) for called in named}
        if wrong := [called for called, count in counted.items() if count != 1]:
            raise Refused(
                f"{self.name}: queue {self.settings.queue} does not have one custom field {', '.join(wrong)} that "
                f"{self.settings.account} may see; deploy/rt/setup makes them, or name others under `fields`"
            )
        self._ids = {str(name): number for name, number in there}
        return self._ids


def _version(reply: Reply) -> int:
    """Give the version of a ticket: the id of the last event that this login may see."""
    text = reply.headers.get("etag", "").removeprefix("W/").strip('"')
    if not (text.isascii() and text.isdigit()):
        raise Refused(
            f"Request Tracker gave a ticket the version {words(text, longest=60)!r}, which is not one of its own"
        )
    return int(text)
