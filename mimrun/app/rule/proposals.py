"""Proposals as people see them: looked at, taken, which launches what was shown and nothing else, and dismissed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from pydantic import JsonValue

from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.masking import masking
from mimrun.app.persons import require_known
from mimrun.app.plans import require_secrets
from mimrun.app.runs import create_run
from mimrun.errors import ErasedError, InputError, RefusedError, TamperError
from mimrun.incident.episode import episode_in
from mimrun.incident.proposal import Proposal, Proposals, Standing, proposal_in
from mimrun.log.entry import Draft, LogEntry
from mimrun.log.kinds import ProposalDismissed, ProposalTaken
from mimrun.log.moment import read_moment
from mimrun.log.store import View
from mimrun.runbook.plan import Plan


@dataclass(frozen=True, slots=True)
class ProposalView:
    """A proposal as a person sees it.

    Arguments:
        said: what the log says of it.
        state: how it stands now.
        burns: the alerts that it was made for are not over, as far as the rule knows.
    """

    said: Proposal
    state: Standing
    burns: bool

    @property
    def name(self) -> str:
        """Its name."""
        return self.said.name

    @property
    def rule(self) -> str:
        """The rule that made it."""
        return self.said.rule

    @property
    def runbook(self) -> str:
        """The name of the runbook."""
        return self.said.runbook

    @property
    def version(self) -> str:
        """The version of the runbook."""
        return self.said.version

    @property
    def digest(self) -> str:
        """The digest of the plan: what is taken is this, or nothing."""
        return self.said.digest

    @property
    def title(self) -> str:
        """What the runbook does, in a line."""
        return self.said.title

    @property
    def risk(self) -> str:
        """The risk of the runbook."""
        return self.said.risk

    @property
    def until(self) -> datetime:
        """Until when it can be taken."""
        return read_moment(self.said.expires_at)

    @property
    def incident(self) -> str:
        """The incident that it belongs to."""
        return self.said.incident

    @property
    def alerts(self) -> tuple[int, ...]:
        """The entries of the first alerts that it was made for."""
        return self.said.alerts

    def as_json(self) -> dict[str, JsonValue]:
        """The proposal for `--json`."""
        said: dict[str, JsonValue] = self.said.model_dump(mode="json", exclude={"decided"})
        return {"proposal": said.pop("name"), "state": self.state, "burns": self.burns, **said}


def list_proposals(home: Home) -> list[ProposalView]:
    """Give every proposal, the newest first."""
    found = [Proposal.decode(state) for _, state in home.store.projections(Proposals.name)]
    return [_view(home, one) for one in sorted(found, key=lambda one: one.made, reverse=True) if one.made]


def find_proposal(home: Home, name: str) -> ProposalView:
    """Give one proposal by its name, the beginning of its name, or `latest`.

    Raises:
        InputError: there is none, or more than one begins so.
    """
    exact = proposal_in(home.store, name)
    if exact.made:
        return _view(home, exact)
    every = list_proposals(home)
    found = every[:1] if name == "latest" else [one for one in every if one.name.startswith(name) and name]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(
            f"{name!r} is the beginning of {', '.join(one.name for one in found[:5])}; write more"
        )
    known = ", ".join(one.name for one in every[:5]) or "none yet"
    raise InputError(f"no proposal {name!r}; the last ones are: {known}")


def proposal_plan(home: Home, name: str) -> Plan:
    """Read the plan of a proposal, and check that it is the one that was proposed.

    Raises:
        InputError: there is no such proposal.
        ErasedError: two people had the plan erased.
        TamperError: it is not.
    """
    said = find_proposal(home, name).said
    entry = home.store.entry(said.made)
    plan = Plan.frozen(home.store.blob(entry, "plan") or b"", said.digest)
    if plan is None:
        raise TamperError(
            f"entry {entry.seq}: the stored plan is not the one that was proposed; nothing was done"
        )
    return plan.with_sources(_sources(home, entry))


def _sources(home: Home, entry: LogEntry) -> Mapping[str, str]:
    """Give the runbooks that the plan was made of; none where they were erased."""
    try:
        sources: Mapping[str, str] = json.loads(home.store.blob(entry, "runbooks") or b"{}")
    except ErasedError:
        return {}
    return sources


def take_proposal(home: Home, identity: Identity, name: str, digest: str, *, direct: bool = False) -> str:
    """Launch what was proposed, in the incident that it belongs to; gives the run's name.

    Arguments:
        digest: of the plan that the person has seen. Another one voids it: nothing is launched.
        direct: Prefect is left out by wish.

    Raises:
        InputError: there is no such proposal.
        RefusedError: it was taken or dismissed, its time is up, or the digest is another one; or as for a launch.
        SettingsError: a secret that it needs cannot be read here.
        StoreError: the log cannot be written.
    """
    view = find_proposal(home, name)
    require_open(view.said, home.clock())
    if digest != view.digest:
        raise RefusedError(
            f"{view.name} is for the plan {view.digest}, and not for {digest}; look at it again:"
            f" `mimrun proposal show {view.name}`"
        )
    plan = proposal_plan(home, view.name)
    require_secrets(plan)

    def taken(incident: str, run: str) -> list[Draft]:
        body = ProposalTaken(proposal=view.name)
        return [Draft(identity.actor(), body, inc=incident, run=run)]

    def still_open(at: View) -> None:
        require_open(proposal_in(at, view.name), home.clock())
        _check_last(at, view.said)

    return create_run(
        home, plan, identity, incident=view.incident, direct=direct, guard=still_open, more=taken
    )


def dismiss_proposal(home: Home, identity: Identity, name: str, reason: str) -> ProposalView:
    """Let a proposal be: nobody launches it any more.

    Raises:
        InputError: there is no such proposal, or no reason.
        GateError: the person is not known.
        RefusedError: it was taken or dismissed, or its time is up.
        StoreError: the log cannot be written.
    """
    view = find_proposal(home, name)
    if not reason.strip():
        raise InputError("say why it is not launched, with --reason: it is what a reviewer will read")
    require_known(home, identity, "dismiss a proposal")
    require_open(view.said, home.clock())
    body = ProposalDismissed(proposal=view.name, reason=masking(home)(reason))
    draft = Draft(identity.actor(), body, inc=view.incident)
    home.store.append([draft], guard=lambda at: require_open(proposal_in(at, view.name), home.clock()))
    return find_proposal(home, view.name)


def require_open(said: Proposal, now: datetime) -> None:
    """See that a proposal can be taken.

    Raises:
        RefusedError: it cannot any more.
    """
    match said.standing(now):
        case "taken":
            raise RefusedError(f"{said.by} took {said.name} at {_clock(said.at)}: `mimrun status {said.run}`")
        case "dismissed":
            raise RefusedError(f"{said.by} dismissed {said.name} at {_clock(said.at)}: {said.why}")
        case "expired":
            raise RefusedError(
                f"{said.name} could be taken until {_clock(said.expires_at)}; launch it anew:"
                f" `mimrun run {said.runbook}@{said.version} --incident {said.incident} …`"
            )
        case "open":
            return


def _check_last(at: View, said: Proposal) -> None:
    """See that no other proposal was made for the episode since, where the clocks of two machines differ.

    Raises:
        RefusedError: there was.
    """
    episode = episode_in(at, said.rule, said.group)
    if episode.episode == said.episode and episode.proposal not in ("", said.name):
        raise RefusedError(f"{said.name} was made anew: look at what rules propose by now")


def _clock(at: str) -> str:
    return f"{at[:16].replace('T', ' ')} UTC"


def _view(home: Home, said: Proposal) -> ProposalView:
    episode = episode_in(home.store, said.rule, said.group)
    burns = episode.episode == said.episode and episode.goes_on
    return ProposalView(said, said.standing(home.clock()), burns)
