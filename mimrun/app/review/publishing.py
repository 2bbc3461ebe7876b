"""Handing a review out: recorded as it was, so that everybody speaks of the same one."""

from __future__ import annotations

from mimrun import canonical
from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.masking import masking
from mimrun.app.persons import require_present
from mimrun.app.review.making import make_review
from mimrun.app.review.markdown import as_markdown
from mimrun.app.rules import note_rules
from mimrun.errors import ErasedError, InputError, RefusedError
from mimrun.incident.incident import incident_in
from mimrun.incident.review import Review
from mimrun.log.entry import MAX_BLOB, Blob, Draft, LogEntry
from mimrun.log.kinds import ReviewPublished
from mimrun.log.store import View


def publish_review(home: Home, identity: Identity, incident: str) -> tuple[Review, LogEntry]:
    """Record the review of an incident as it is now; an incident can have several, and the last one counts.

    Returns:
        the review, and the entry with its Markdown.

    Raises:
        InputError: there is no such incident.
        RefusedError: it is not resolved, nothing has changed since it was published, or something does so now.
        GateError: whoever acts decides nothing here.
        StoreError: the log cannot be written.
    """
    review = make_review(home, incident)
    was = incident_in(home.store, review.incident.name)
    require_present(home, identity, "publish a review")
    if was.status == "open":
        raise RefusedError(
            f"{was.name} is not resolved; `mimrun review {was.name}` shows what can be said by now"
        )
    data = masking(home)(as_markdown(review)).encode()
    if len(data) > MAX_BLOB:
        raise RefusedError(f"the review has {len(data)} bytes, and {MAX_BLOB} is the most that the log keeps")
    body = ReviewPublished(digest=canonical.digest_bytes(data))
    if was.reviewed and _digest(home, was.reviewed) == body.digest:
        raise RefusedError(f"nothing has changed since the review was published (entry {was.reviewed})")

    def check(view: View) -> None:
        if incident_in(view, was.name) != was:
            raise RefusedError(f"somebody else has changed {was.name} at this moment; look again")

    note_rules(home, identity.actor())
    draft = Draft(identity.actor(), body, inc=was.name, blobs=(Blob("review", data, "text"),))
    (entry,) = home.store.append([draft], guard=check)
    return review, entry


def published_review(home: Home, incident: str) -> str:
    """Give the review of an incident as it was published last.

    Raises:
        InputError: none was.
        ErasedError: two people had it erased.
    """
    was = incident_in(home.store, incident)
    if not was.reviewed:
        raise InputError(f"no review of {incident} was published; `mimrun review publish {incident}` does it")
    data = home.store.blob(home.store.entry(was.reviewed), "review")
    if data is None:
        raise ErasedError(f"entry {was.reviewed} has no review")
    return data.decode("utf-8", "backslashreplace")


def _digest(home: Home, seq: int) -> str:
    body = home.store.entry(seq).body
    return body.digest if isinstance(body, ReviewPublished) else ""
