"""`mimrun change`: records of mimrun's own register, and which record a run is done under."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from mimrun.app.change.draft import content_of_plan
from mimrun.app.change.elsewhere import open_elsewhere
from mimrun.app.change.facts import changes_of
from mimrun.app.change.form import Form, fill_form
from mimrun.app.change.linking import find_record, link_change
from mimrun.app.change.reading import record_json
from mimrun.app.change.records import conflicts_of, find_change, list_changes
from mimrun.app.change.register import (
    Opening,
    edit_change,
    open_change,
)
from mimrun.app.change.scribe import write_due
from mimrun.app.change.systems import speaking
from mimrun.app.home import open_home
from mimrun.app.identity import identify
from mimrun.app.incident.view import incident_name
from mimrun.app.persons import require_known
from mimrun.app.plans import prepare_plan
from mimrun.app.runs import find_run
from mimrun.cli.change_options import (
    BackOption,
    FromOption,
    OfIncidentOption,
    PlanInputOption,
    PlanOption,
    RefArgument,
    RiskOption,
    TargetOption,
    TestOption,
    TitleOption,
    TypeOption,
    UntilOption,
    WhatOption,
    WhyOption,
    WithinOption,
)
from mimrun.cli.change_steps import (
    add_template,
    approve,
    cancel,
    close,
    reject,
    review,
    revoke_template,
    schedule,
    start_,
    submit,
    withdraw,
)
from mimrun.cli.change_tell import show_one, tell, tell_elsewhere
from mimrun.cli.change_view import change_json, link_json, print_changes, print_record
from mimrun.cli.options import (
    AsOption,
    HomeOption,
    InventoryOption,
    JsonOption,
    RunArgument,
    group,
    settings_of,
)
from mimrun.cli.terminal import console, print_json, safe_line
from mimrun.errors import ConnectorError, InputError, RunError
from mimrun.gate.change import REGISTER
from mimrun.gate.register import Content
from mimrun.gate.register_rules import conflict_name, is_overdue


def open_(
    type_: TypeOption = "normal",
    *,
    title: TitleOption = None,
    risk: RiskOption = None,
    justification: WhyOption = None,
    implementation: WhatOption = None,
    backout: BackOption = None,
    test: TestOption = None,
    targets: TargetOption = None,
    start: FromOption = None,
    end: UntilOption = None,
    from_plan: PlanOption = None,
    inputs: PlanInputOption = None,
    inventories: InventoryOption = None,
    incident: OfIncidentOption = "",
    within: WithinOption = None,
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Open a change: a draft in mimrun's own register, or a record in another system of changes.yaml.

    With --from-plan its approval is for exactly that plan: a run of anything else is not allowed by it.
    """
    form = Form(title, risk, justification, implementation, backout, test, start, end, targets)
    with open_home(settings_of(home)) as opened:
        identity, file = identify(opened.people(), claimed), changes_of(opened).file()
        system = file.system(within or file.new_records)
        person = require_known(opened, identity, "open a change")
        incident = incident and incident_name(opened, incident)
        draft = Content(type=type_, title=title or "", risk=risk or "medium", incident=incident)
        if from_plan:
            draft = content_of_plan(prepare_plan(opened, from_plan, inputs or [], inventories or []))
        of = {"type": type_, "incident": incident, "requested_by": person.id}
        content = fill_form(draft.model_copy(update=of), form, opened.clock())
        if system.name == REGISTER:
            ref = open_change(opened, identity.actor(), content, Opening(incident=incident))
            tell(opened, ref, "opened", as_json=as_json)
            return
        tell_elsewhere(system.name, open_elsewhere(opened, identity, system, content), as_json=as_json)


def edit(
    ref: RefArgument,
    *,
    title: TitleOption = None,
    risk: RiskOption = None,
    justification: WhyOption = None,
    implementation: WhatOption = None,
    backout: BackOption = None,
    test: TestOption = None,
    targets: TargetOption = None,
    start: FromOption = None,
    end: UntilOption = None,
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a change say something else. What was approved before is void, and it is a draft again."""
    form = Form(title, risk, justification, implementation, backout, test, start, end, targets)
    if form.is_empty:
        raise InputError("say what is to be another; see `mimrun change edit --help`")
    with open_home(settings_of(home)) as opened:
        content = fill_form(find_change(opened, ref).text(), form, opened.clock())
        edit_change(opened, ref, identify(opened.people(), claimed), content)
        tell(opened, ref, "edited", as_json=as_json)


def show(
    ref: Annotated[
        str,
        typer.Argument(metavar="CHANGE", show_default=False, help="CHG-7, or SYSTEM:NUMBER of another one."),
    ],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a change: its text, who decided what, what speaks against it, and what comes next.

    A record of another system of changes.yaml is read there, and shown as decisions are made from it.
    """
    with open_home(settings_of(home)) as opened:
        system, _, number = ref.partition(":")
        if not number or system == REGISTER:
            show_one(opened, number or ref, as_json=as_json)
            return
        try:
            with speaking(opened, changes_of(opened).file().system(system)) as conversation:
                record = conversation.read(number)
        except ConnectorError as exc:
            raise RunError(f"{ref} cannot be read: {exc}") from exc
    if as_json:
        print_json(record_json(record))
    else:
        print_record(console(), record)


def list_(
    everything: Annotated[bool, typer.Option("--all", help="Also those that are over.")] = False,
    overdue: Annotated[
        bool, typer.Option("--overdue", help="Only those that should have been written up by now.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the changes of mimrun's own register, the newest first."""
    with open_home(settings_of(home)) as opened:
        now = opened.clock()
        views = list_changes(opened, everything=everything)
        views = [view for view in views if not overdue or is_overdue(view.was, now)]
        if as_json:
            print_json([change_json(view, (), now) for view in views])
        elif views:
            print_changes(console(), views, now)
        else:
            typer.echo("there is no change")


def link(
    run: RunArgument,
    change: Annotated[
        str, typer.Argument(metavar="CHANGE", show_default=False, help="CHG-7, or SYSTEM:NUMBER.")
    ],
    *,
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Do a run under a change record, here or in another system, in the place of the one before."""
    with open_home(settings_of(home)) as opened:
        who, found = identify(opened.people(), claimed), find_record(opened, change)
        linked = link_change(opened, find_run(opened, run).summary.run, found, who)
    if as_json:
        print_json({**link_json(linked), "warning": found.warning})
        return
    typer.echo(safe_line(f"{linked.run} is done under {linked.name}"))
    if found.warning:
        console(stderr=True).print(Text(f"note: {safe_line(found.warning)}", "yellow"))


def conflicts(ref: RefArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Say what speaks against a change's planned time: others on the same hosts, and closed calendars."""
    with open_home(settings_of(home)) as opened:
        found = conflicts_of(opened, find_change(opened, ref))
    if as_json:
        print_json([{"type": one.type, "with": one.with_} for one in found])
        return
    for one in found:
        typer.echo(safe_line(conflict_name(one)))
    if not found:
        typer.echo("nothing speaks against it")


def sync(
    run: Annotated[str, typer.Option("--run", metavar="RUN", help="Only for this run.")] = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write to change records now what is to be written. A worker does it by itself."""
    with open_home(settings_of(home)) as opened:
        opened.require_key()
        name = find_run(opened, run).summary.run if run else ""
        found = write_due(opened, changes_of(opened).file(), run=name)
    if as_json:
        print_json(
            [
                {"run": one.run, "change": one.name, "what": one.what, "done": one.done, "reason": one.reason}
                for one in found
            ]
        )
        return
    for one in found:
        how = "written" if one.done else f"not written: {one.reason}"
        typer.echo(safe_line(f"{one.run}: {one.what} to {one.name} {how}"))
    if not found:
        typer.echo("nothing is to be written")


_STANDARD = group(
    "standard",
    "What may be run without asking each time.",
    {
        "add": (
            add_template,
            'mimrun change standard add service-restart --hosts web --until +90d --reason "done weekly"',
        ),
        "revoke": (revoke_template, 'mimrun change standard revoke CHG-4 --reason "it failed twice"'),
    },
)
_CHANGE = group(
    "change",
    "Open, decide and close changes, and say under which a run is done.",
    {
        "open": (
            open_,
            "mimrun change open --from-plan postgres-failover -i inventory.yaml --input cluster=orders",
        ),
        "list": (list_, "mimrun change list --overdue"),
        "show": (show, "mimrun change show CHG-7"),
        "edit": (edit, "mimrun change edit CHG-7 --backout @backout.txt"),
        "submit": (submit, "mimrun change submit CHG-7"),
        "approve": (approve, "mimrun change approve CHG-7 --as alex"),
        "reject": (reject, 'mimrun change reject CHG-7 --reason "no backout for step 3"'),
        "withdraw": (withdraw, 'mimrun change withdraw CHG-7 --reason "the standby fell behind"'),
        "schedule": (schedule, "mimrun change schedule CHG-7 --from 2026-11-22T22:00Z --until +4h"),
        "start": (start_, "mimrun change start CHG-7"),
        "review": (review, "mimrun change review CHG-7"),
        "close": (close, 'mimrun change close CHG-7 --result successful --reason "verified by the desk"'),
        "cancel": (cancel, 'mimrun change cancel CHG-7 --reason "not needed any more"'),
        "link": (link, "mimrun change link latest rt:4711"),
        "conflicts": (conflicts, "mimrun change conflicts CHG-7"),
        "sync": (sync, "mimrun change sync"),
    },
)
_CHANGE.add_command(_STANDARD, "standard")

COMMANDS = {"change": _CHANGE}
