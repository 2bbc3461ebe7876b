"""Opening a change in another system, by a person's word: on record before it is asked for, and never made twice."""

from __future__ import annotations

import secrets

from mimrun.app.change.file import System
from mimrun.app.change.systems import say, speaking
from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.change_system import ChangeDraft
from mimrun.errors import ConnectorError, LostAnswer, RunError
from mimrun.gate.change_link import NEW
from mimrun.gate.register import Content
from mimrun.gate.register_rules import window_of
from mimrun.log.entry import Blob, Draft
from mimrun.log.kinds import ChangeWriting, ChangeWritten


def open_elsewhere(home: Home, identity: Identity, system: System, content: Content) -> str:
    """Make a record in a change system, and ask its approvers; gives its reference.

    Where the answer is lost, the system is asked whether it has the key.

    Raises:
        RunError: it could not be made, or nobody knows whether it was; the message says which.
        StoreError: the log cannot be written.
    """
    key = f"change {secrets.token_hex(8)}"
    text = Blob("text", content.encode(), "text")
    body = ChangeWriting(system=system.name, ref=NEW, what="create", key=key)
    (writing,) = home.store.append([Draft(identity.actor(), body, inc=content.incident, blobs=(text,))])
    try:
        ref = _make(home, system, _draft(content, key), key)
    except ConnectorError as exc:
        lost = isinstance(exc, LostAnswer)
        status = ChangeWritten(
            writing=writing.seq, status="unknown" if lost else "failed", reason=say(exc), final=True
        )
        home.store.append([Draft(identity.actor(), status, inc=content.incident)])
        cure = f"look for [mimrun {key}] there before you open it again" if lost else "nothing was made there"
        raise RunError(f"no change could be opened in {system.name}: {say(exc)}; {cure}") from exc
    done = ChangeWritten(writing=writing.seq, status="done", ref=ref[:64], final=True)
    home.store.append([Draft(identity.actor(), done, inc=content.incident)])
    return ref


def _make(home: Home, system: System, draft: ChangeDraft, key: str) -> str:
    with speaking(home, system) as conversation:
        try:
            return conversation.create(draft)
        except LostAnswer as lost:
            try:
                found = conversation.find(key)
            except ConnectorError:
                raise lost from None
            if not found:
                raise
            return found


def _draft(content: Content, key: str) -> ChangeDraft:
    return ChangeDraft(
        key=key,
        type=content.type,
        title=content.title,
        risk=content.risk,
        justification=content.justification,
        plan=content.implementation,
        backout=content.backout,
        test=content.test,
        targets=content.targets,
        window=window_of(content),
        digest=content.digest,
        requested_by=content.requested_by,
        incident=content.incident,
    )
