"""The arguments and options that the commands about incidents share."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

IncidentArgument: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="INC",
        help="An incident's name, the beginning of it, or `latest`: the newest that is not closed.",
    ),
]
ReasonOption: TypeAlias = Annotated[
    str,
    typer.Option("--reason", metavar="TEXT", show_default=False, help="Why; a reviewer will read it."),
]
ImpactOption: TypeAlias = Annotated[
    str,
    typer.Option("--impact", metavar="GRADE", help="How much is affected: high, medium, low or unknown."),
]
UrgencyOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--urgency", metavar="GRADE", help="How soon it must be mended: high, medium, low or unknown."
    ),
]
ServiceOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--service",
        metavar="NAME",
        show_default=False,
        help="A service that is affected. May be given several times.",
    ),
]
FlagOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--flag",
        metavar="FLAG",
        show_default=False,
        help="What is special about it, such as security; `mimrun incident table` lists them. May be given several times.",
    ),
]
TextOption: TypeAlias = Annotated[
    str,
    typer.Option("--text", metavar="TEXT", show_default=False, help="More words; kept apart, like a note."),
]
StartedOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--started",
        metavar="MOMENT",
        show_default=False,
        help="When it began: 10:42, ISO 8601, or `15m ago`.",
    ),
]
DetectedOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--detected",
        metavar="MOMENT",
        show_default=False,
        help="When somebody, or a monitoring system, noticed.",
    ),
]
ParentOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--parent", metavar="INC", show_default=False, help="The incident that this one is part of."
    ),
]
