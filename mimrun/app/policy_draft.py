"""The policy file that somebody begins with, and what is doubtful about one that is written."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Final

from mimrun.app.home import Home
from mimrun.app.runbooks import whole_library
from mimrun.errors import Problem, RefusedError
from mimrun.gate.calendar_file import load_calendars
from mimrun.gate.people import People
from mimrun.gate.policy import FREEZE_APPROVER, Cell, Matrix, Policy
from mimrun.gate.policy_file import load_policy
from mimrun.gate.role import unknown_role
from mimrun.runbook.model import GateStep, ManualStep
from mimrun.runbook.tree import walk_steps
from mimrun.settings import Settings

DRAFT: Final = """\
# Who must agree before something is changed: by the risk of the runbook, the priority of the incident, and
# whether a calendar is closed. It is read again for every decision; what is left out is as here.
# `mimrun policy show` prints it as a table, `mimrun policy lint` looks for roles that nobody has, and
# `mimrun policy explain RUN` says why a gate is closed and who could open it.
matrix:
  # What only reads asks for nothing.
  read_only: none
  low:
    P1: none
    P2: none
    # For P3 to P5, and as long as nobody declared a priority.
    other: {approvals: [{role: responder}], pre_authorised: true}
    # Added while a calendar is closed.
    freeze: {approvals: [{role: responder}]}
  medium:
    P1:
      approvals: [{role: change_manager}, {role: major_incident_manager}]
      change: emergency
      pre_authorised: true
    P2: {approvals: [{role: change_manager}], change: emergency}
    other: {approvals: [{role: change_manager}], change: normal}
    freeze: {freeze_override: true}
  high:
    P1: {approvals: [{role: change_manager}, {role: major_incident_manager}], change: emergency}
    P2: {approvals: [{role: change_manager}, {role: major_incident_manager}], change: emergency}
    other: {approvals: [{role: change_manager}, {role: major_incident_manager}], change: normal}
    freeze: {refused: nothing of high risk is changed in a freeze; what cannot wait breaks the glass}

# Whose approvals never count, under any of their accounts.
excluded: [requester, launcher, author]
# How long a gate waits, and an approval counts; the gate's own time holds where it is shorter.
expires: 30m
# When nobody decided in time: escalate, fail or undo. Nothing is ever approved by waiting.
on_timeout: escalate
escalation: [change_manager, major_incident_manager, executive]
# true: only approvals that are signed with the approver's own key count.
signed: false
# What alerts may launch by themselves; everything else they propose.
triggers: {launch: [read_only, low], pre_authorised: [medium]}
# Who may say how urgent an incident is.
prioritize: [major_incident_manager, service_desk]
# For how long that counts: an incident of last week lends its urgency to nobody.
priority_lasts: 12h
# two_people: a second person must want it too. one_and_page: one goes at once, and others are told.
break_glass: {how: two_people, settle_within: 24h}
manual: {remind_every: 15m, reminders: 4}
"""
"""mimrun's own default, written out."""


def write_draft(settings: Settings) -> Path:
    """Write the default policy into a home that has none.

    Raises:
        RefusedError: there is one.
    """
    file = settings.policy
    if file.exists() or file.is_symlink():
        raise RefusedError(f"{file} is there already; `mimrun policy lint` checks it")
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.draft")
    draft.write_text(DRAFT, "utf-8")
    draft.replace(file)
    return file


def doubts_about(home: Home) -> list[Problem]:
    """Give what is doubtful about the rules of a home: roles that nobody has, places that nobody can fill.

    Runbooks of the library that name a role which there is not are among it, also where there is no policy.

    Raises:
        SettingsError: a file is wrong; every problem is named with its place.
    """
    policy = load_policy(home.settings.policy)
    found = [
        Problem(one.file, 0, 0, f"the calendar {one.name!r} is closed until it is mended: {why}")
        for one in load_calendars(home.settings.calendars).all
        for why in one.wrong
    ]
    people = home.people()
    found += _in_runbooks(people)
    return found + (list(_doubts(policy, people)) if policy is not None else [])


def _in_runbooks(people: People) -> Iterator[Problem]:
    for loaded in whole_library().runbooks:
        for path, step in walk_steps(loaded.runbook.steps):
            roles: list[tuple[tuple[str | int, ...], str]] = []
            if isinstance(step, GateStep):
                needs = enumerate(step.gate.approvals)
                roles = [(("gate", "approvals", number, "role"), need.role) for number, need in needs]
            elif isinstance(step, ManualStep) and step.manual.role:
                roles = [(("manual", "role"), step.manual.role)]
            for inner, role in roles:
                hint = unknown_role(role, people.roles, people.teams)
                if hint is not None:
                    yield loaded.problem(loaded.step_path(path, *inner), f"there is no role {role!r}", hint)


def _doubts(policy: Policy, people: People) -> Iterator[Problem]:
    named: dict[str, Sequence[str]] = {
        "prioritize": policy.prioritize,
        "escalation": policy.escalation,
        "break_glass": policy.break_glass.roles,
    }
    for key, roles in named.items():
        for role in roles:
            yield from _about_role(policy, key, role, people)
    for risk in Matrix.model_fields:
        for column, cell in getattr(policy.matrix, risk).cells():
            yield from _about_cell(policy, f"matrix.{risk}.{column}", cell, people)


def _about_cell(policy: Policy, rule: str, cell: Cell, people: People) -> Iterator[Problem]:
    for need in cell.approvals:
        yield from _about_role(policy, rule, need.role, people)
    for role in cell.escalation or ():
        yield from _about_role(policy, rule, role, people)
    if cell.freeze_override:
        yield from _about_role(policy, rule, FREEZE_APPROVER, people)
    places = [need.role for need in cell.approvals for _ in range(need.count)]
    if cell.freeze_override:
        places.append(FREEZE_APPROVER)
    having = [{person.id for person in people.by_id.values() if role in person.roles} for role in places]
    # Where a role has nobody at all, that was said already.
    if all(having) and not _can_fill(having):
        yield _problem(
            policy, rule, f"needs {len(places)} different people, and there are not so many with the roles"
        )
    elif all(having) and len(places) > 1 and len(set().union(*having)) == len(places):
        yield _problem(policy, rule, "needs everybody with these roles, so that none of them can launch it")


def _can_fill(having: Sequence[Collection[str]]) -> bool:
    """Say whether each place can be filled by another person (Hall, 1935), by a matching."""
    place_of: dict[str, int] = {}

    def seat(place: int, tried: set[str]) -> bool:
        for person in sorted(having[place]):
            if person not in tried:
                tried.add(person)
                if person not in place_of or seat(place_of[person], tried):
                    place_of[person] = place
                    return True
        return False

    return all(seat(place, set()) for place in range(len(having)))


def _about_role(policy: Policy, rule: str, role: str, people: People) -> Iterator[Problem]:
    hint = unknown_role(role, people.roles, people.teams)
    if hint is not None:
        yield _problem(policy, rule, f"there is no role {role!r}", hint)
    elif not any(role in person.roles for person in people.by_id.values()):
        yield _problem(
            policy, rule, f"nobody has the role {role} now", f"give it to somebody in {people.file}"
        )


def _problem(policy: Policy, rule: str, message: str, hint: str = "") -> Problem:
    return Problem(policy.file, policy.lines.get(rule, 0), 0, f"{rule}: {message}", hint)
