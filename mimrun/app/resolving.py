"""Settling doubts: a person says what became of a step, and where the risk is high a second one agrees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.masking import masker_of
from mimrun.app.persons import require_another, require_known
from mimrun.app.runs import find_run, load_state
from mimrun.errors import InputError, RefusedError
from mimrun.log.entry import MAX_BLOB, Blob, Draft
from mimrun.log.kinds import Body, StepResolutionProposed, StepResolved
from mimrun.log.store import View
from mimrun.run.record.state import CellKey, Proposal, RunState
from mimrun.run.record.summary import RunSummary, summary_in
from mimrun.runbook.model import Risk

Resolution: TypeAlias = Literal["applied", "not_applied", "skip", "abort"]

MEANINGS: Final[dict[str, dict[Resolution, str]]] = {
    "lost": {
        "applied": "it happened: go on behind it",
        "not_applied": "it did not happen: do it now",
        "skip": "leave it out and go on",
        "abort": "count it as failed",
    },
    "conflict": {
        "applied": "the state of before is back: go on with the way back",
        "not_applied": "put it back all the same, over what somebody has changed since",
        "skip": "leave it as it is now, and take back the rest",
        "abort": "give up the way back",
    },
    "stuck": {
        "applied": "it is taken back by hand: go on with the way back",
        "not_applied": "try it once more",
        "skip": "leave it as it is now, and take back the rest",
        "abort": "give up the way back",
    },
}
"""What each answer means, by what is asked."""


@dataclass(frozen=True, slots=True)
class Word:
    """A person's word on a doubt.

    Arguments:
        reason: how the person knows.
        evidence: what they saw (output, a link), or nothing.
    """

    resolution: Resolution
    reason: str
    evidence: bytes = b""


@dataclass(frozen=True, slots=True)
class Settled:
    """What a person's word came to.

    Arguments:
        keys: the cells it is about.
        proposed: the risk is high, so that a second person has to say the same.
    """

    keys: tuple[CellKey, ...]
    proposed: bool


def doubts(state: RunState) -> list[CellKey]:
    """Give the steps of a run that a person must settle."""
    return sorted(state.in_doubt())


def meanings(state: RunState, key: CellKey) -> dict[Resolution, str]:
    """Say what each answer to a doubt means."""
    return MEANINGS.get(state.cell(key).doubt, MEANINGS["lost"])


def resolve(
    home: Home,
    run: str,
    identity: Identity,
    *,
    step: str,
    target: str | None = None,
    resolution: Resolution,
    reason: str,
) -> Settled:
    """Record a person's word without evidence; see `settle`."""
    return settle(home, run, identity, (step, target), Word(resolution, reason))


def settle(home: Home, run: str, identity: Identity, place: tuple[str, str | None], word: Word) -> Settled:
    """Record a person's word on what became of a step in doubt.

    The steps, in order:

    1. The person is known, and says how they know.
    2. There is such a doubt, on one host.
    3. Where the risk of the plan is high, the first word is a proposal. It counts when another person says
       the same; another word takes its place.
    4. Nothing has happened to the run since it was looked at.

    Arguments:
        place: the step's path, and the host, or None where the step is in doubt on one host only.

    Raises:
        InputError: there is no such doubt, or no reason.
        GateError: the person is not known, or is the one who proposed it.
        RefusedError: the run has moved on.
    """
    if not word.reason.strip():
        raise InputError("say how you know, with --reason: it is what a reviewer will read")
    if len(word.evidence) > MAX_BLOB:
        raise InputError(
            f"the evidence has {len(word.evidence)} bytes; {MAX_BLOB} is the most: give a link to it"
        )
    word = _masked(home, word)
    require_known(home, identity, "settle a doubt")
    summary = find_run(home, run).summary
    state = load_state(home, summary.run)
    found = _asked_about(state, *place)
    first = _first_words(state, found, word.resolution) if summary.risk == Risk.HIGH else []
    for one in first:
        refused = "has proposed this already; the risk is high, so another person must say the same"
        require_another(home, identity, one.names, refused)
    counts = summary.risk != Risk.HIGH or bool(first)
    drafts = [_draft(identity, summary, state, key, word, counts=counts) for key in found]
    home.store.append(drafts, guard=lambda view: unchanged(view, summary))
    return Settled(tuple(found), proposed=not counts)


def _asked_about(state: RunState, step: str, target: str | None) -> list[CellKey]:
    found = [key for key in doubts(state) if key.step == step and target in (None, key.target)]
    if not found:
        open_ = ", ".join(f"{k.step} on {k.target}" for k in doubts(state)) or "none"
        raise InputError(f"{state.run}: step {step} is not in doubt; in doubt are: {open_}")
    if target is None and len({key.target for key in found}) > 1:
        raise InputError(
            f"step {step} is in doubt on {', '.join(k.target for k in found)}; say which with --target"
        )
    return found


def _masked(home: Home, word: Word) -> Word:
    """Give a word without known secrets."""
    masker = masker_of(home.settings)
    return replace(word, reason=masker.mask_text(word.reason), evidence=masker.mask(word.evidence))


def _first_words(state: RunState, keys: Sequence[CellKey], resolution: Resolution) -> list[Proposal]:
    """Give what was proposed for the cells, where all of them were proposed the same; else nothing."""
    proposals = [state.proposals.get(key) for key in keys]
    same = [one for one in proposals if one is not None and one.resolution == resolution]
    return same if len(same) == len(keys) else []


def _draft(
    identity: Identity, summary: RunSummary, state: RunState, key: CellKey, word: Word, *, counts: bool
) -> Draft:
    kind = StepResolved if counts else StepResolutionProposed
    body: Body = kind(
        resolution=word.resolution,
        reason=word.reason,
        intent=state.cell(key).intent,
        iteration=key.iteration,
    )
    return Draft(
        identity.actor(),
        body,
        inc=summary.incident,
        run=summary.run,
        step=key.step,
        target=key.target,
        blobs=(Blob("evidence", word.evidence, "text"),) if word.evidence else (),
    )


def unchanged(view: View, seen: RunSummary) -> None:
    """Refuse a word on a run that has moved on since it was looked at, by however little.

    Raises:
        RefusedError: it has.
    """
    if summary_in(view, seen.run).last_seq != seen.last_seq:
        raise RefusedError(f"{seen.run} has moved on while you decided; look at it again")
