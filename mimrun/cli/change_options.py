"""The options of `mimrun change`, which several of its commands share."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import typer

RefArgument: TypeAlias = Annotated[
    str, typer.Argument(metavar="CHANGE", show_default=False, help="Its number, such as CHG-7.")
]
ReasonOption: TypeAlias = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Why; a reviewer will read it.")
]
_TEXT = "TEXT|@FILE"
TitleOption: TypeAlias = Annotated[
    str | None, typer.Option("--title", metavar="TEXT", show_default=False, help="What is done, in a line.")
]
RiskOption: TypeAlias = Annotated[
    Literal["low", "medium", "high"] | None,
    typer.Option("--risk", show_default=False, help="How much harm it can do."),
]
WhyOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--justification", metavar=_TEXT, show_default=False, help="Why it is to be done."),
]
WhatOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--implementation", metavar=_TEXT, show_default=False, help="What is done, step by step."),
]
BackOption: TypeAlias = Annotated[
    str | None, typer.Option("--backout", metavar=_TEXT, show_default=False, help="How it is taken back.")
]
TestOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--test", metavar=_TEXT, show_default=False, help="How one sees that it worked."),
]
TargetOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        metavar="HOST",
        show_default=False,
        help="A host that it is about; given ones take the place of all. May be given several times.",
    ),
]
FromOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--from", metavar="MOMENT", show_default=False, help="When it begins: ISO 8601, now, or +2h."
    ),
]
UntilOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--until",
        metavar="MOMENT",
        show_default=False,
        help="When it ends: ISO 8601, or so much from now: +4h.",
    ),
]
TypeOption: TypeAlias = Annotated[
    Literal["normal", "emergency"], typer.Option("--type", help="How it is allowed.")
]
PlanOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--from-plan",
        metavar="RUNBOOK",
        show_default=False,
        help="Fill it in from this runbook's plan: steps, hosts, undo, checks, digest.",
    ),
]
PlanInputOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--input", metavar="NAME=VALUE", show_default=False, help="An input of that runbook."),
]
OfIncidentOption: TypeAlias = Annotated[
    str, typer.Option("--incident", metavar="INC", help="The incident it belongs to.")
]
UnderOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--change",
        metavar="CHANGE",
        show_default=False,
        help="The change record that it is done under: CHG-7, or SYSTEM:NUMBER.",
    ),
]
WithinOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--in",
        metavar="SYSTEM",
        show_default=False,
        help="The change system it is opened in. Default: `new_records` of changes.yaml, else mimrun's own register.",
    ),
]
