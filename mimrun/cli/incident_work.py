"""`mimrun incident declare | assess | assign | stage | resolve | close | reopen`: working on an incident."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from mimrun.app.home import Home, open_home
from mimrun.app.identity import identify
from mimrun.app.incident import working
from mimrun.app.incident.closing import blocks_closing
from mimrun.app.incident.declaring import Declaration, declare, prioritizers
from mimrun.app.incident.view import find_incident, find_state
from mimrun.canonical import Json
from mimrun.cli.incident_next import next_steps
from mimrun.cli.incident_options import (
    DetectedOption,
    FlagOption,
    ImpactOption,
    IncidentArgument,
    ParentOption,
    ReasonOption,
    ServiceOption,
    StartedOption,
    TextOption,
    UrgencyOption,
)
from mimrun.cli.incident_told import moment_of
from mimrun.cli.options import AsOption, HomeOption, JsonOption, settings_of
from mimrun.cli.terminal import console, print_json, safe_line
from mimrun.errors import InputError
from mimrun.incident.assessment import read_grade
from mimrun.incident.incident import Incident
from mimrun.incident.stage import read_stage
from mimrun.runbook.suggestion import suggest


def declare_one(
    title: Annotated[
        list[str], typer.Argument(metavar="TITLE", show_default=False, help="What is broken, in a line.")
    ],
    *,
    impact: ImpactOption = "unknown",
    urgency: UrgencyOption = "unknown",
    service: ServiceOption = None,
    flag: FlagOption = None,
    text: TextOption = "",
    started: StartedOption = None,
    detected: DetectedOption = None,
    parent: ParentOption = None,
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say that there is an incident, and how bad it is; runs, notes and decisions then belong to it.

    Priority and severity come from impact and urgency by the table (`mimrun incident table`). Where the policy lets you
    say how urgent it is, the priority counts at gates at once; else you are told who may declare it.
    """
    with open_home(settings_of(home)) as opened:
        identity = identify(opened.people(), claimed)
        told = {"started": started, "detected": detected}
        times = {name: moment_of(opened, text) for name, text in told.items() if text is not None}
        said = Declaration(
            " ".join(title),
            read_grade(impact, "impact"),
            read_grade(urgency, "urgency"),
            tuple(service or ()),
            tuple(flag or ()),
            text,
            times,  # type: ignore[arg-type]  # both names are right
            parent or "",
        )
        name = declare(opened, identity, said)
        _tell_assessed(opened, name, f"declared by {identity.person.id}", as_json=as_json)


def assess(
    incident: IncidentArgument,
    *,
    impact: ImpactOption = "",
    urgency: UrgencyOption = "",
    service: ServiceOption = None,
    flag: FlagOption = None,
    text: TextOption = "",
    reason: ReasonOption = "",
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say anew how bad an incident is. What is left out stays as it was said before."""
    with open_home(settings_of(home)) as opened:
        identity = identify(opened.people(), claimed)
        was = find_state(opened, incident)
        said = Declaration(
            was.title,
            read_grade(impact or was.impact or "unknown", "impact"),
            read_grade(urgency or was.urgency or "unknown", "urgency"),
            tuple(service) if service else was.services,
            tuple(flag) if flag else was.flags,
            text,
        )
        working.assess(opened, identity, was.name, said, reason)
        _tell_assessed(opened, was.name, f"assessed by {identity.person.id}", as_json=as_json)


def _tell_assessed(home: Home, name: str, verb: str, *, as_json: bool) -> None:
    """Say how bad an incident is, whether its priority counts, and what comes next."""
    one, who = find_incident(home, name), prioritizers(home)
    state, counts = one.state, one.declared.priority == one.state.priority
    if as_json:
        may: dict[str, Json] = {"roles": list(who.roles), "people": list(who.people)}
        print_json({**one.as_json(), "priority_counts": counts, "who_may_prioritize": may})
        return
    out = console()
    how = f"impact {state.impact}, urgency {state.urgency}"
    out.print(
        Text(name, "bold").append(
            f" {verb}: {state.severity}, {state.priority} ({how})  {safe_line(one.title)}"
        )
    )
    if counts:
        out.print(Text(f"  {state.priority} counts at gates from now on", "green"))
    else:
        out.print(
            Text(
                f"  {state.priority} is assessed, and counts at gates once it is declared; {safe_line(who.words)}",
                "yellow",
            )
        )
    if "unknown" in (state.impact, state.urgency):
        out.print(
            Text(
                "  what is not known counts as bad: say it with `mimrun incident assess` when it is", "yellow"
            )
        )
    if not one.state.clocks.detected:
        out.print(
            Text(f'  when was it noticed? `mimrun incident time {name} detected "5m ago"`', "dim"),
        )
    for step in next_steps(home, one, ()):
        out.print(Text("  next: ", "bold cyan").append(step, "cyan"))


def assign(
    incident: IncidentArgument,
    role: Annotated[
        str,
        typer.Argument(metavar="ROLE", help="Such as technical_lead; `mimrun incident table` lists them."),
    ],
    person: Annotated[
        str | None, typer.Argument(metavar="PERSON", show_default=False, help="Who; you, where left out.")
    ] = None,
    *,
    nobody: Annotated[bool, typer.Option("--nobody", help="Take the role away from whoever has it.")] = False,
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give somebody a role in an incident. It says who is asked, and gives nobody a say at gates."""
    if nobody and person:
        raise InputError("give a person, or --nobody, and not both")
    with open_home(settings_of(home)) as opened:
        identity = identify(opened.people(), claimed)
        whom = "" if nobody else person or identity.person.id
        state = working.assign(opened, identity, incident, role, whom)
        who = state.roles.get(role, "nobody")
        held = opened.people().by_id.get(who)
        _tell(opened, state, f"{who} is {role} now", as_json=as_json)
        if (
            held is not None
            and role in ("major_incident_manager", "change_manager")
            and role not in held.roles
        ):
            console(stderr=True).print(
                Text(
                    f"note: in people.yaml {who} is no {role}, so gates that ask for one do not count them",
                    "yellow",
                )
            )


def stage(
    incident: IncidentArgument,
    to: Annotated[
        str, typer.Argument(metavar="STAGE", help="identification, containment, resolution or maintenance.")
    ],
    *,
    verified: Annotated[
        int,
        typer.Option(
            "--verified",
            metavar="ENTRY",
            show_default=False,
            help="For resolution: the verified step that shows it is contained; the last one where left out.",
        ),
    ] = 0,
    reason: ReasonOption = "",
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what is worked on now: identification, containment, resolution.

    Resolution means that it is contained, which a step shows that a run verified after it changed something; or
    --reason says why nothing had to be contained. Maintenance comes with `mimrun incident resolve`.
    """
    with open_home(settings_of(home)) as opened:
        identity = identify(opened.people(), claimed)
        state = working.move_stage(
            opened, identity, incident, read_stage(to), reason=reason, verified=verified
        )
        words = f"in {state.stage} now"
        if state.verified:
            at = state.clocks.contained.at[:19].replace("T", " ")
            words += f": contained since {at} UTC, as entry {state.verified} shows"
        _tell(opened, state, words, as_json=as_json)


def resolve(
    incident: IncidentArgument,
    how: Annotated[str, typer.Argument(metavar="HOW", help=f"One of {', '.join(working.HOWS)}.")],
    *,
    cause: Annotated[
        str,
        typer.Option(
            "--cause",
            metavar="WORD",
            show_default=False,
            help="What it came from, in a word by which incidents are compared, such as `expired_certificate`.",
        ),
    ] = "",
    text: TextOption = "",
    restored: Annotated[
        str | None,
        typer.Option(
            "--restored",
            metavar="MOMENT",
            show_default=False,
            help="When service was back: 10:42, ISO 8601, or `15m ago`. Default: now.",
        ),
    ] = None,
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say that service is back for those who use it, and how that came. Then watch it, and close it."""
    way = next((one for one in working.HOWS if one == how.lower().replace("-", "_")), None)
    if way is None:
        raise InputError(f"{how!r} is no way to resolve an incident; {suggest(how, working.HOWS)}")
    with open_home(settings_of(home)) as opened:
        identity = identify(opened.people(), claimed)
        at = moment_of(opened, restored) if restored is not None else None
        state = working.resolve(opened, identity, incident, way, cause=cause, text=text, restored_at=at)
        _tell(opened, state, f"resolved: {state.how.replace('_', ' ')}", as_json=as_json)


def close(
    incident: IncidentArgument,
    *,
    reason: ReasonOption = "",
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say that nothing is left to do. It is refused as long as something is, and all of it is named."""
    with open_home(settings_of(home)) as opened:
        identity = identify(opened.people(), claimed)
        state = working.close(opened, identity, incident, reason)
        _tell(opened, state, "closed", as_json=as_json)


def reopen(
    incident: IncidentArgument,
    *,
    reason: ReasonOption = "",
    to: Annotated[
        str, typer.Option("--stage", metavar="STAGE", help="What is worked on then.")
    ] = "containment",
    claimed: AsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say that an incident was not over, and why."""
    with open_home(settings_of(home)) as opened:
        identity = identify(opened.people(), claimed)
        state = working.reopen(opened, identity, incident, reason, stage=read_stage(to))
        _tell(opened, state, f"open again, in {state.stage}", as_json=as_json)


def _tell(home: Home, state: Incident, words: str, *, as_json: bool) -> None:
    one = find_incident(home, state.name)
    blocks = blocks_closing(home, state.name)
    if as_json:
        print_json({**one.as_json(), "blocks_closing": list(blocks)})
        return
    out = console()
    out.print(Text(state.name, "bold").append(f": {safe_line(words)}"))
    if state.status == "resolved":
        for why in blocks:
            out.print(Text(f"  before it can be closed: {safe_line(why, 400)}", "yellow"))
    for step in next_steps(home, one, blocks):
        out.print(Text("  next: ", "bold cyan").append(step, "cyan"))
