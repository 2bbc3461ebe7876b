"""The doctor on rules: who may do what, what is asked for, and what went past it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from mimrun.app.alert.sources import secret_faults
from mimrun.app.breakglass.glass import list_glasses
from mimrun.app.calendars import frozen_words
from mimrun.app.change.file import installed_adapters, load_changes
from mimrun.app.doctor_check import Check
from mimrun.app.home import open_home
from mimrun.app.notice.file import load_notices
from mimrun.app.presence import nobody_stays, somebody_heeds
from mimrun.app.rule.view import list_rules
from mimrun.app.signed.openssh import read_file
from mimrun.errors import InputError, MimrunError, SettingsError
from mimrun.gate.calendar_file import load_calendars
from mimrun.gate.people_file import load_people
from mimrun.gate.people_lint import lint_people
from mimrun.gate.policy_file import load_policy
from mimrun.gate.signature import read_signers
from mimrun.incident.source_file import load_sources
from mimrun.log.moment import utc_now
from mimrun.run.record.notices import Notices, Told
from mimrun.runbook.document import load_document
from mimrun.runbook.finding import Level
from mimrun.settings import Settings


def examine_rules(settings: Settings) -> Iterator[Check]:
    """Look at every file that gates are decided by, at who is told, and at gates that were gone past."""
    yield _people(settings)
    yield _policy(settings)
    yield from _calendars(settings)
    yield from _signers(settings)
    yield from _changes(settings)
    yield from _notices(settings)
    yield from _alert_sources(settings)
    yield from _alert_rules(settings)
    yield from _broken_glass(settings)


def _people(settings: Settings) -> Check:
    try:
        people = load_people(settings.people)
    except MimrunError as exc:
        return Check("people", str(exc), f"mend {settings.people}", ok=False)
    if len(people.by_id) < 2:
        cure = f"a gate needs a second person: {settings.people}"
        return Check("people", f"{len(people.by_id)} known", cure, ok=None)
    document = load_document(settings.people, error=SettingsError)
    wrong = [one for one in lint_people(document, people, utc_now()) if one.level is Level.ERROR]
    if wrong:
        return Check("people", str(wrong[0].problem), "mimrun people lint", ok=False)
    return Check("people", f"{len(people.by_id)} known", ok=True)


def _policy(settings: Settings) -> Check:
    try:
        policy = load_policy(settings.policy)
    except MimrunError as exc:
        return Check("policy", f"{exc}; until it is mended no gate opens", "mimrun policy lint", ok=False)
    if policy is None:
        return Check(
            "policy", "none: only the gates that runbooks write count", "mimrun policy init", ok=None
        )
    return Check("policy", str(settings.policy), ok=True)


def _calendars(settings: Settings) -> Iterator[Check]:
    """Name the calendars that hold everything up because they cannot be understood, and those that do by intent."""
    calendars = load_calendars(settings.calendars)
    for one in calendars.all:
        if one.wrong:
            yield Check("calendar", f"{one.wrong[0]}; until then it is closed", f"mend {one.file}", ok=False)
    frozen = [c for c in calendars.closed(utc_now()) if "cannot be understood" not in c.reason]
    if frozen:
        yield Check("calendar", frozen_words(frozen), "mimrun calendar check", ok=None)


def _signers(settings: Settings) -> Iterator[Check]:
    """Say whether the keys that sign approvals are those of known people, where somebody said whose they are."""
    file = settings.allowed_signers
    if not file.exists():
        return
    try:
        signers = read_signers(read_file(file), str(file))
        wrong = signers.wrong(load_people(settings.people))
    except MimrunError as exc:
        yield Check("signers", str(exc), f"mend {file}", ok=False)
        return
    count = f"{len(signers.lines)} keys sign approvals"
    if wrong:
        yield Check("signers", f"{count}; {wrong[0]}", f"mend {file}", ok=False)
    elif shutil.which("ssh-keygen") is None:
        yield Check("signers", f"{count}, and ssh-keygen is not here", "install OpenSSH's client", ok=None)
    else:
        yield Check("signers", count, ok=True)


def _changes(settings: Settings) -> Iterator[Check]:
    """Say which change systems there are; until their file can be read, no gate that needs a record opens."""
    if not settings.changes.exists():
        return
    try:
        file = load_changes(settings.changes, installed_adapters())
    except MimrunError as exc:
        found = f"{exc}; until it is mended no gate opens that needs a change record"
        yield Check("changes", found, f"mend {settings.changes}", ok=False)
        return
    yield Check("changes", f"{', '.join(file.systems)}; new ones in {file.new_records}", ok=True)


def _notices(settings: Settings) -> Iterator[Check]:
    """Say whether people are told what waits for them, and what did not reach anybody."""
    if not settings.notices.exists():
        return
    try:
        rules = load_notices(settings.notices)
        with open_home(settings) as home:
            told = [Told.decode(state) for _, state in home.store.projections(Notices.name)]
    except InputError as exc:
        yield Check("notices", str(exc), "mimrun notice lint", ok=False)
        return
    except MimrunError:
        return
    failing = sorted({one.channel for one in told if one.failures})
    if failing:
        yield Check("notices", f"not taken by {', '.join(failing)}", "mimrun notice list --failed", ok=False)
    elif nobody_stays(settings):
        why = "no worker stays on this machine: people are told when a run rests, and reminded of nothing"
        yield Check("notices", why, "start `mimrun worker`, or `mimrun notice now` from cron", ok=None)
    else:
        yield Check("notices", f"{len(rules.notices)} over {len(rules.channels)} channels", ok=True)


def _alert_sources(settings: Settings) -> Iterator[Check]:
    """Say which monitoring systems may send alerts, and whether it could be told that it is they."""
    if not settings.alerts.exists():
        return
    try:
        sources = load_sources(settings.alerts)
    except MimrunError as exc:
        yield Check("alerts", str(exc), "mimrun alert lint", ok=False)
        return
    for name, why in secret_faults(sources).items():
        told = f"{name}: {why}; until then its alerts are refused where this process takes them in"
        yield Check("alerts", told, "mimrun alert lint", ok=False)
    yield Check("alerts", f"from {', '.join(sources.by_name) or 'nobody'}", ok=True)


def _alert_rules(settings: Settings) -> Iterator[Check]:
    """Say which rules say what alerts lead to, which files are refused, and whether somebody follows them."""
    if not settings.rules.exists():
        return
    try:
        with open_home(settings) as home:
            found = list_rules(home)
    except MimrunError:
        return
    for problem in found.now.problems:
        told = f"{problem}; what was good of the file last stays in force"
        yield Check("rules", told, "mimrun rule lint", ok=False)
    if found.budget.storm:
        told = f"a storm of alerts since {found.budget.since[:16]}Z: rules only propose ({found.budget.incident})"
        yield Check("rules", told, "mimrun rule resume --reason ...", ok=False)
    if found.rules and not somebody_heeds(settings):
        told = "no worker stays on this machine: alerts lead to nothing from here"
        yield Check("rules", told, "start `mimrun worker` or `mimrun serve`", ok=None)
    elif found.rules and not found.now.problems:
        yield Check("rules", f"{len(found.rules)} in force", ok=True)


def _broken_glass(settings: Settings) -> Iterator[Check]:
    """Name the runs that went past their gates, and are not settled."""
    try:
        with open_home(settings) as home:
            views = [view for view in list_glasses(home) if view.glass.opened]
    except MimrunError:
        return
    for view in views:
        found = f"{view.glass.run} went past its gates: {view.words}"
        yield Check(
            "break-glass",
            found,
            f"mimrun change show {view.glass.change}",
            ok=False if view.overdue else None,
        )
