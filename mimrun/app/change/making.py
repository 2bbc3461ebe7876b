"""Making change records: on record before it is asked for, found again by its key, and so never made twice."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Final

from mimrun.app.append import append_unless
from mimrun.app.change.draft import backout_text, hosts_of, steps_text, test_text, title_of
from mimrun.app.change.file import ChangesFile, System
from mimrun.app.change.systems import SCRIBE, say, speaking
from mimrun.app.home import Home
from mimrun.canonical import Json
from mimrun.change_system import ChangeDraft, ChangeSystem, ChangeSystemSettings, Window
from mimrun.errors import (
    ConnectorError,
    ErasedError,
    LostAnswer,
    MimrunError,
    Refused,
    SettingsError,
)
from mimrun.gate.change import REGISTER
from mimrun.gate.change_link import NEW, RunChange, Writing, change_of
from mimrun.gate.people import CLAIMED
from mimrun.gate.terms import Terms
from mimrun.log.entry import Blob, Draft
from mimrun.log.kinds import ChangeLinked, ChangeWriting, ChangeWritten
from mimrun.log.moment import read_moment, write_moment
from mimrun.log.store import View
from mimrun.run.cell.permit import ChangeAsking

TRIES: Final = 5
"""So often something is asked for that a system refuses: its rights or its form may be mended meanwhile."""

_HUMAN: Final = timedelta(hours=4)
"""The least time that a record is planned for: people have to decide and to act in it."""


def key_of(asking: ChangeAsking) -> str:
    """Give the key of the record for a gate: it changes with the run and with what is behind the gate."""
    return f"{asking.run} gate {asking.gate} {asking.digest.removeprefix('sha256:')[:16]}"[:64]


def announce_record(home: Home, file: ChangesFile, asking: ChangeAsking, terms: Terms, now: datetime) -> None:
    """Put on record that a change record is made for a gate; nothing where that is so already.

    It is made by `make_record`, at once and as often as it takes.
    """
    key = key_of(asking)
    link = change_of(home.store, asking.run)
    if link.key == key or any(one.key == key for one in (*link.under_way, *link.given_up)):
        return
    draft = draft_of(asking, terms, key, now)
    body = ChangeWriting(system=file.new_records, ref=NEW, what="create", key=key)
    blob = Blob("text", json.dumps(_as_json(draft), sort_keys=True).encode(), "text")

    def late(view: View) -> bool:
        there = change_of(view, asking.run)
        return there.key == key or any(one.key == key for one in there.under_way)

    append_unless(home, [Draft(SCRIBE, body, inc=asking.incident, run=asking.run, blobs=(blob,))], late)


def draft_of(asking: ChangeAsking, terms: Terms, key: str, now: datetime) -> ChangeDraft:
    """Fill in an emergency change from the plan, for what is behind a gate."""
    plan = asking.plan
    nodes = plan.segment_after(asking.gate) or tuple(plan.walk())
    whole = timedelta(milliseconds=plan.timeout_ms + terms.expires_ms)
    return ChangeDraft(
        key=key,
        type="emergency",
        title=title_of(plan),
        risk=plan.runbook.risk.value,
        justification=f"incident {asking.incident}: {terms.because or 'an emergency change is asked for'}",
        plan=f"{asking.run}, steps with the digest {asking.digest}\n\n{steps_text(nodes)}",
        backout=backout_text(nodes),
        test=test_text(nodes),
        targets=hosts_of(plan),
        window=Window(now, now + max(whole, _HUMAN)),
        run=asking.run,
        digest=asking.digest,
        requested_by=min((name for name in asking.excluded if not name.startswith(CLAIMED)), default=""),
        incident=asking.incident,
    )


def make_record(home: Home, file: ChangesFile, link: RunChange, writing: Writing) -> bool:
    """Make a record that was announced, or find that it was made; says whether the run has it now.

    1. Where it was tried before, or may have been, the system is asked for the key first.
    2. Only where it does not know the key, the record is made.
    3. What came of it, and the link of the run to it, are one step of the log.
    """
    try:
        system = file.system(writing.system)
        with speaking(home, system) as conversation:
            found = conversation.find(writing.key)
            ref = found or conversation.create(_draft_in(home, writing))
            url = _url(conversation, system, ref)
    except (ConnectorError, SettingsError, ErasedError) as exc:
        settle(home, link, writing, [written(link, writing, exc)])
        return False
    status = ChangeWritten(
        writing=writing.seq,
        status="already" if found else "done",
        ref=ref[:64],
        attempt=writing.attempts + 1,
    )
    linked = ChangeLinked(
        system=writing.system, ref=ref, url=url, key=writing.key[:64], replaces=link.name[:64]
    )
    drafts = [Draft(SCRIBE, body, inc=link.incident, run=link.run) for body in (status, linked)]
    return settle(home, link, writing, drafts)


def _url(conversation: ChangeSystem[ChangeSystemSettings], system: System, ref: str) -> str:
    if system.name == REGISTER:
        return ""
    try:
        return conversation.read(ref).url
    except ConnectorError:
        return ""  # the next reading has it


def _draft_in(home: Home, writing: Writing) -> ChangeDraft:
    """Read the draft back that was put on record before the first try."""
    data = json.loads(home.store.blob(home.store.entry(writing.seq), "text") or b"{}")
    window = data.pop("window")
    if window is not None:
        window = Window(read_moment(window[0]), read_moment(window[1]))
    return ChangeDraft(**{**data, "targets": tuple(data["targets"]), "window": window})


def _as_json(draft: ChangeDraft) -> dict[str, Json]:
    told: dict[str, Json] = {name: getattr(draft, name) for name in draft.__dataclass_fields__}
    window = draft.window
    moments = [write_moment(window.start), write_moment(window.end)] if window else None
    return {**told, "targets": list(draft.targets), "window": moments}


def written(link: RunChange, writing: Writing, error: MimrunError) -> Draft:
    """Give the entry that says that a try failed: what a system refuses is tried a few times, all else for good."""
    attempt = writing.attempts + 1
    body = ChangeWritten(
        writing=writing.seq,
        status="unknown" if isinstance(error, LostAnswer) else "failed",
        reason=say(error),
        attempt=attempt,
        final=isinstance(error, ErasedError) or (isinstance(error, Refused) and attempt >= TRIES),
    )
    return Draft(SCRIBE, body, inc=link.incident, run=link.run)


def settle(home: Home, link: RunChange, writing: Writing, drafts: list[Draft]) -> bool:
    """Record what came of a try, unless another process has settled it meanwhile; says whether it was we."""

    def late(view: View) -> bool:
        return not any(one.seq == writing.seq for one in change_of(view, link.run).under_way)

    return bool(append_unless(home, drafts, late))
