"""What somebody says of an incident when they declare it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias

from mimrun.log.kinds import Grade

Told: TypeAlias = Literal["started", "detected"]


@dataclass(frozen=True, slots=True)
class Declaration:
    """What somebody says of an incident.

    Arguments:
        title: what is broken, in a line.
        impact: how much is affected.
        urgency: how soon it must be mended.
        services: which are affected.
        flags: of the table.
        text: more words, or "".
        times: when it began, and when it was noticed, where that is known.
        parent: the incident that it is part of, or "".
    """

    title: str
    impact: Grade = "unknown"
    urgency: Grade = "unknown"
    services: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    text: str = ""
    times: Mapping[Told, datetime] = field(default_factory=dict)
    parent: str = ""
