"""What became of a command whose answer was lost: the claim on the host tells, or nobody does."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from connectors.ssh.actions import Execution
from connectors.ssh.claim import KEPT_DAYS, Claim, Record, ask, end, read
from connectors.ssh.command_line import ending
from connectors.ssh.execution import Site, exit_code
from connectors.ssh.running import ENDING, proof_of
from mimrun.connector import ConnectorError, Failed, Finding, LostAnswer, Ok, Probed

SKEW: Final = 120.0
"""Seconds by which the wall clocks that tell an attempt's age may be wrong."""
MARGIN: Final = 3.0
"""Seconds of the probe's own time that are left when it stops waiting for the end of a command."""
OLDEST: Final = (KEPT_DAYS - 1) * 86400.0
"""Seconds; the claim of an older attempt may have been removed."""

_UNUSABLE: Final[Mapping[str, str]] = {
    "folder": "is not a folder of that account alone, so nothing in it proves anything",
    "unwritable": "cannot be written, so no late request can be kept from starting",
    "unreadable": "holds a claim that was not written to its end",
}


@dataclass(frozen=True, slots=True)
class Attempt:
    """What is known about the attempt that is asked about.

    Arguments:
        age: seconds since it was begun; None where nobody knows.
        same_account: the probe surely acts as the account that the attempt acted as.
        skew: seconds by which the age may be wrong.
    """

    age: float | None
    same_account: bool
    skew: float = SKEW


def probe_execution(site: Site, action: Execution, attempt: Attempt) -> Probed:
    """Find out whether a command has run, and how it ended."""
    claim = site.claim()
    record = look(site, claim)
    if record.state != "ended":
        return unsettled(site, claim, record, attempt)
    reason = (
        f"{site.where}: it ran and ended with {exit_code(record.status)}; what it printed is not on record"
    )
    reason += f"; {record.ending}" if record.ending else ""
    if record.status in action.ok_codes:
        done = Ok(changed=action.changed, data={"rc": record.status})
        return Probed(Finding.APPLIED, reason, done.data, outcome=done)
    failed = Failed(reason, clean=False, data={"rc": record.status})
    return Probed(Finding.APPLIED, reason, failed.data, outcome=failed)


def look(site: Site, claim: Claim) -> Record:
    """Ask the host about a claim, which voids it where it was not taken.

    What is still running is waited for; where a person wants it to end, before that or meanwhile, it is ended.

    Raises:
        LostAnswer, Refused, Unreachable: the host does not say.
    """
    stop = site.call.stop
    record = _read(unhurried(site), claim, 0)
    wait = int(site.call.left() - MARGIN)
    if record.state == "running" and wait >= 1 and not stop.is_set():
        try:
            record = _read(site, claim, wait)
        except LostAnswer:
            if not stop.is_set():
                raise
    if record.state == "running" and stop.is_set():
        return _end(site, claim, record)
    return record


def unhurried(site: Site) -> Site:
    """Give the same site for a question that is asked also where a person has cancelled: it is a short one."""
    return replace(site, call=replace(site.call, stop=threading.Event()))


def _end(site: Site, claim: Claim, record: Record) -> Record:
    """End what still runs, and say what the claim says then, and whether the end is proven."""
    calm = unhurried(site)
    # The wish may come when the time of the look is nearly over; ending has a time of its own.
    calm = replace(calm, call=replace(calm.call, deadline=max(site.call.deadline, time.monotonic() + ENDING)))
    named = str(record.group or record.pid)
    try:
        said = (
            calm.ask(end(claim, record, ending((record.group,))), limit=1024)
            .stdout.decode("ascii", "replace")
            .split()
        )
        proof = proof_of(said, named)
        after = _read(calm, claim, 0)
    except ConnectorError as exc:
        return replace(record, ending=f"that process group {named} was ended could not be proven: {exc}")
    if said[:1] == ["foreign"] and after.state != "running":
        return after  # it came to its end by itself before anything was sent to it
    return replace(after, ending=proof)


def unsettled(site: Site, claim: Claim, record: Record, attempt: Attempt) -> Probed:
    """Judge a claim that has no exit status."""
    where = site.where
    match record.state:
        case "void":
            return _never_begun(site, record, attempt)
        case "not_begun":
            return Probed(
                Finding.NOT_APPLIED, f"{where}: it was about to begin, found nobody to tell, and ended"
            )
        case "running":
            reason = f"{where}: it still runs there as process group {record.pid}"
        case "broken_off":
            ended = "the host was started again since" if record.rebooted else "its process is gone"
            reason = f"{where}: it began, and its end is not on record: {ended}"
        case _:
            why = _UNUSABLE.get(record.state, "holds a claim that says nothing")
            reason = f"{where}: {claim.folder} {why}"
    reason += f"; {record.ending}" if record.ending else ""
    if record.left:
        reason += f"; of what it started, there still runs: {', '.join(record.left[:5])}"
    return Probed(Finding.UNKNOWN, reason)


def _never_begun(site: Site, record: Record, attempt: Attempt) -> Probed:
    """Say that an attempt provably never began; or why a missing claim does not prove that."""
    where, age = site.where, attempt.age
    # 1. Another account's claims lie in another folder, which we do not see.
    if not attempt.same_account:
        why = "ansible_user is not set, so the attempt may have been made, and claimed, as another user"
    # 2. Old claims are removed.
    elif age is None or age < 0:
        why = "nobody knows how old the attempt is"
    elif age > OLDEST:
        why = f"the attempt is older than the {KEPT_DAYS} days for which claims are kept"
    # 3. A claim is not forced to disk; what was on its way there is lost with the power.
    elif record.up is None:
        why = "the host does not say since when it is up"
    elif record.up < age + attempt.skew:
        why = "the host was started after the attempt, or shortly before, and may have lost its claim"
    # 4. The claim was not there while the host was up all the time, and now nobody can take it.
    else:
        return Probed(
            Finding.NOT_APPLIED, f"{where}: it has not begun there, and now it cannot begin any more"
        )
    return Probed(Finding.UNKNOWN, f"{where}: there is no claim, which proves nothing: {why}")


def _read(site: Site, claim: Claim, wait: int) -> Record:
    return read(site.ask(ask(claim, wait)).stdout.decode("utf-8", "replace"))
