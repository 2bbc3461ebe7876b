"""Action items: what is to be done so that an incident does not come again, who does it, and until when."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import date
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, JsonValue

from mimrun.errors import InputError, TamperError
from mimrun.log import kinds
from mimrun.log.entry import LogEntry
from mimrun.log.moment import write_moment
from mimrun.log.store import Store, View

_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class ReviewItem(BaseModel):
    """An action item.

    Arguments:
        item: its name within the incident, such as `A1`; "" where there is none.
        owner: the person who sees to it.
        due: `2026-12-24`, or "" where nobody said.
        opened: the entry that opened it, with `opened_at` its moment and `opened_by` who did.
        state: `open` until it is done, or dropped.
        reason: why it was dropped, or what was done.
    """

    model_config = ConfigDict(frozen=True)

    incident: str = ""
    item: str = ""
    title: str = ""
    owner: str = ""
    due: str = ""
    opened: int = 0
    opened_at: str = ""
    opened_by: str = ""
    state: Literal["open", "done", "dropped"] = "open"
    closed_at: str = ""
    closed_by: str = ""
    reason: str = ""

    def encode(self) -> bytes:
        """Give the bytes that the store keeps."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes) -> ReviewItem:
        """Read what `encode` gave."""
        return cls.model_validate_json(data)

    def is_overdue(self, today: date) -> bool:
        """Say whether it should be done by now, and is not."""
        return self.state == "open" and bool(self.due) and date.fromisoformat(self.due) < today

    def as_json(self) -> dict[str, JsonValue]:
        """The item for `--json`."""
        found: dict[str, JsonValue] = self.model_dump(mode="json")
        return found


class ReviewItems:
    """The projector: incident and item → how it stands."""

    name: Final = "review_items/1"

    def empty(self) -> bytes:
        """An item that nobody opened."""
        return ReviewItem().encode()

    def key(self, entry: LogEntry) -> str | None:
        """An entry about an item touches it."""
        body = entry.body
        if isinstance(body, kinds.ReviewItemOpened | kinds.ReviewItemClosed):
            return item_key(entry.inc, body.item)
        return None

    def apply(self, state: bytes, entry: LogEntry, blobs: Mapping[str, bytes]) -> bytes:
        """Give the state after an entry.

        Raises:
            TamperError: an item is opened twice, or closed without being open.
        """
        was, at = ReviewItem.decode(state), write_moment(entry.ts)
        match entry.body:
            case kinds.ReviewItemOpened() as body:
                if was.item:
                    raise TamperError(f"entry {entry.seq}: the item {body.item} was opened before")
                return ReviewItem(
                    incident=entry.inc,
                    item=body.item,
                    title=body.title,
                    owner=body.owner,
                    due=body.due,
                    opened=entry.seq,
                    opened_at=at,
                    opened_by=entry.actor.id,
                ).encode()
            case kinds.ReviewItemClosed() as body:
                if was.state != "open" or not was.item:
                    raise TamperError(f"entry {entry.seq}: there is no open item {body.item}")
                said = {"state": body.outcome, "closed_at": at, "closed_by": entry.actor.id}
                return was.model_copy(update={**said, "reason": body.reason}).encode()
            case _:
                return state


def item_key(incident: str, item: str) -> str:
    """Name the state of an item; those of an incident lie beside each other, in the order of their numbers."""
    return f"{incident} {item[:1]}{item[1:]:>4}"


def items_of(view: Store | View, incident: str = "") -> list[ReviewItem]:
    """Give the items of an incident, or of all, in the order in which they were opened."""
    prefix = f"{incident} " if incident else ""
    found = [ReviewItem.decode(state) for _, state in view.projections(ReviewItems.name, prefix)]
    return sorted(found, key=lambda one: one.opened)


def read_due(text: str) -> str:
    """Read the day until which something is to be done.

    Raises:
        InputError: it is no day.
    """
    try:
        if _DATE.fullmatch(text):
            return date.fromisoformat(text).isoformat()
    except ValueError:
        pass
    raise InputError(f"{text!r} is no day; write 2026-12-24")
