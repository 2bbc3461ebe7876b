"""`mimrun incident`: declare incidents, see how each stands, and work on them until they are closed."""

from __future__ import annotations

from typing import Annotated

import typer

from mimrun.app.home import open_home
from mimrun.app.identity import identify
from mimrun.app.incident.closing import blocks_closing
from mimrun.app.incident.declaring import prioritizers
from mimrun.app.incident.view import find_incident, list_incidents
from mimrun.app.priority import prioritize, read_priority
from mimrun.cli import incident_table, incident_timeline, incident_told, incident_work
from mimrun.cli.incident_next import next_steps
from mimrun.cli.incident_options import IncidentArgument, ReasonOption
from mimrun.cli.incident_view import print_incident, print_list
from mimrun.cli.options import AsOption, HomeOption, JsonOption, group, settings_of
from mimrun.cli.terminal import console, print_json
from mimrun.gate.policy import PRIORITIES


def list_all(
    everything: Annotated[bool, typer.Option("--all", help="Sealed packs, too.")] = False,
    still_open: Annotated[
        bool, typer.Option("--open", help="Only those in which something is left to do.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List incidents, the newest first: how bad each is, where it stands, and how many runs it has.

    A priority in brackets was assessed, and nobody who may has declared it.
    """
    with open_home(settings_of(home)) as opened:
        found = [one for one in list_incidents(opened) if everything or not one.is_pack]
    shown = [one for one in found if one.is_open or not still_open]
    if as_json:
        print_json([one.as_json() for one in shown])
        return
    if shown:
        print_list(console(), shown)
    elif found:
        typer.echo(
            f"in none of the {len(found)} incidents is anything left to do (leave --open away to see them)"
        )
    else:
        typer.echo("the log has no incident; `mimrun incident declare TITLE` or a run opens one")


def show(incident: IncidentArgument = "latest", home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show how an incident stands: stage, priority, roles, clocks, runs, and what is to be done next."""
    with open_home(settings_of(home)) as opened:
        one = find_incident(opened, incident)
        blocks = blocks_closing(opened, one.name)
        who_may = prioritizers(opened).words
        steps = list(next_steps(opened, one, blocks))
    if as_json:
        print_json({**one.as_json(), "blocks_closing": list(blocks)})
        return
    print_incident(console(), one, blocks, who_may, steps)


def priority(
    incident: IncidentArgument,
    urgency: Annotated[str, typer.Argument(metavar="PRIORITY", help=f"One of {', '.join(PRIORITIES)}.")],
    *,
    reason: ReasonOption = "",
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Declare how urgent an incident is. The policy says who may, and asks for more or less accordingly.

    Gates that ask for something else then are void, and are asked anew.
    """
    with open_home(settings_of(home)) as opened:
        identity = identify(opened.people(), claimed)
        name = find_incident(opened, incident).name
        wanted = read_priority(urgency)
        was = prioritize(opened, identity, name, wanted, reason)
    if as_json:
        print_json({"incident": name, "priority": wanted, "before": was.priority, "by": identity.person.id})
        return
    before = f" (before: {was.priority})" if was.priority else ""
    typer.echo(
        f"{name} is {wanted} from now on{before}; `mimrun policy explain RUN` says what its gates ask for"
    )


_INC = "INC-20261122-7K2Q"
COMMANDS = {
    "incident": group(
        "incident",
        "Declare incidents, see how each stands, and work on them until they are closed.",
        {
            "declare": (
                incident_work.declare_one,
                'mimrun incident declare "nobody can pay" --impact high --urgency high --service payments',
            ),
            "list": (list_all, "mimrun incident list --open"),
            "show": (show, f"mimrun incident show {_INC}"),
            "timeline": (incident_timeline.show, f"mimrun incident timeline {_INC} --follow"),
            "note": (
                incident_told.note,
                f'mimrun incident note {_INC} "the errors began with the certificate"',
            ),
            "assess": (incident_work.assess, f"mimrun incident assess {_INC} --impact medium"),
            "priority": (priority, f'mimrun incident priority {_INC} P1 --reason "nobody can pay"'),
            "assign": (incident_work.assign, f"mimrun incident assign {_INC} technical_lead alex"),
            "stage": (incident_work.stage, f"mimrun incident stage {_INC} containment"),
            "resolve": (
                incident_work.resolve,
                f'mimrun incident resolve {_INC} fixed --cause expired_certificate --restored "5m ago"',
            ),
            "close": (incident_work.close, f"mimrun incident close {_INC}"),
            "reopen": (incident_work.reopen, f'mimrun incident reopen {_INC} --reason "the errors are back"'),
            "time": (incident_told.time, f"mimrun incident time {_INC} detected 10:42"),
            "link": (incident_told.link, f"mimrun incident link {_INC} record INC0010042"),
            "table": (incident_table.show, "mimrun incident table"),
        },
    )
}
