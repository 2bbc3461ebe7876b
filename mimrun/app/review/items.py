"""Action items: agreed upon in the review of an incident, and followed until each is done or dropped."""

from __future__ import annotations

from typing import Literal

from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.incident.recording import text_blobs
from mimrun.app.incident.view import find_state
from mimrun.app.masking import masking
from mimrun.app.persons import require_present
from mimrun.app.rules import note_rules
from mimrun.errors import InputError, RefusedError
from mimrun.incident.review_item import ReviewItem, items_of, read_due
from mimrun.log.entry import Draft
from mimrun.log.kinds import ReviewItemClosed, ReviewItemOpened
from mimrun.log.store import View
from mimrun.runbook.suggestion import suggest


def add_item(
    home: Home, identity: Identity, incident: str, title: str, *, owner: str, due: str = "", text: str = ""
) -> ReviewItem:
    """Agree upon something that is to be done so that the incident does not come again.

    Arguments:
        owner: the person who sees to it.
        due: the day until which, `2026-12-24`; "" where nobody says.
        text: more about it.

    Raises:
        InputError: there is no such incident or person, no title, or the day is none.
        GateError: whoever acts decides nothing here.
        RefusedError: somebody else added one at this moment.
        StoreError: the log cannot be written.
    """
    name = find_state(home, incident).name
    require_present(home, identity, "agree upon action items")
    if not title.strip():
        raise InputError("say in a line what is to be done")
    owner = _owner(home, owner)
    mask, known = masking(home), items_of(home.store, name)
    item = f"A{len(known) + 1}"
    body = ReviewItemOpened(
        item=item, title=mask(title.strip()), owner=owner, due=read_due(due) if due else ""
    )

    def check(view: View) -> None:
        if items_of(view, name) != known:
            raise RefusedError(f"somebody else changed the action items of {name} at this moment; try again")

    note_rules(home, identity.actor())
    home.store.append([Draft(identity.actor(), body, inc=name, blobs=text_blobs(mask(text)))], guard=check)
    return find_item(home, name, item)


def close_item(
    home: Home,
    identity: Identity,
    incident: str,
    item: str,
    outcome: Literal["done", "dropped"],
    *,
    reason: str = "",
) -> ReviewItem:
    """Say that something is done, or is not going to be.

    Arguments:
        reason: what was done; why it is dropped, which must be said.

    Raises:
        InputError: there is no such item, or no reason.
        GateError: whoever acts decides nothing here.
        RefusedError: it is closed already.
        StoreError: the log cannot be written.
    """
    was = find_item(home, incident, item)
    require_present(home, identity, "close action items")
    if was.state != "open":
        raise RefusedError(f"{was.item} of {was.incident} is {was.state} already: {was.closed_by} said so")
    if outcome == "dropped" and not reason.strip():
        raise InputError("say why it is dropped, with --reason: somebody will ask")
    body = ReviewItemClosed(item=was.item, outcome=outcome, reason=masking(home)(reason.strip()))

    def check(view: View) -> None:
        if was not in items_of(view, was.incident):
            raise RefusedError(f"somebody else closed {was.item} at this moment; look again")

    note_rules(home, identity.actor())
    home.store.append([Draft(identity.actor(), body, inc=was.incident)], guard=check)
    return find_item(home, was.incident, was.item)


def find_item(home: Home, incident: str, item: str) -> ReviewItem:
    """Give an item of an incident.

    Raises:
        InputError: there is none.
    """
    name = find_state(home, incident).name
    known = {one.item: one for one in items_of(home.store, name)}
    found = known.get(item.upper())
    if found is None:
        raise InputError(
            f"{name} has no action item {item!r}; {suggest(item.upper(), known) or 'it has none'}"
        )
    return found


def list_items(home: Home, incident: str = "", *, everything: bool = False) -> list[ReviewItem]:
    """Give action items, those that are due first in front; of all incidents where none is named.

    Arguments:
        everything: also those that are done or dropped.

    Raises:
        InputError: there is no such incident.
    """
    found = items_of(home.store, find_state(home, incident).name if incident else "")
    shown = [one for one in found if everything or one.state == "open"]
    return sorted(shown, key=lambda one: (one.state != "open", one.due or "9999", one.opened))


def _owner(home: Home, owner: str) -> str:
    people = home.people()
    if not people.knows(owner):
        hint = suggest(owner, people.by_id) or f"{people.file} knows nobody"
        raise InputError(f"--owner: nobody is known as {owner!r}; {hint}")
    person = people.person(owner)
    if not person.active:
        raise InputError(f"--owner: {person.id} is not active any more; name somebody who is")
    return person.id
