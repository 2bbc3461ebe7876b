"""On-call plans: the files `oncall/TEAM.yaml` in the home, as `mimrun people oncall import` writes them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import yaml

from mimrun.errors import SettingsError
from mimrun.gate.oncall import Rota, Rotas, Shift, make_rota
from mimrun.gate.people import Team
from mimrun.log.moment import write_moment
from mimrun.runbook.document import Document, load_document

_KEYS = {"team", "source", "until", "shifts"}


def load_rotas(folder: Path, teams: Mapping[str, Team]) -> Rotas:
    """Read the plans of some teams; a team whose plan is not there has nobody on call.

    Raises:
        SettingsError: a plan is not one.
    """
    found = ((team, folder / f"{team}.yaml") for team in teams)
    return {
        team: parse_rota(load_document(path, error=SettingsError), team)
        for team, path in found
        if path.exists()
    }


def parse_rota(document: Document, team: str) -> Rota:
    """Make the plan of a document.

    Raises:
        SettingsError: it is not a plan, or another team's.
    """
    top = document.value
    if not isinstance(top, dict) or top.keys() != _KEYS or not isinstance(top["shifts"], list):
        raise _wrong(document, f"an on-call plan has {', '.join(sorted(_KEYS))}")
    if top["team"] != team:
        raise _wrong(document, f"it is the plan of {top['team']!r}, not of {team!r}")
    shifts = []
    for number, item in enumerate(top["shifts"]):
        if not isinstance(item, dict) or item.keys() != {"person", "from", "until"}:
            raise _wrong(document, "a shift has person, from, until", number)
        start, end = (_moment(document, item[key], number) for key in ("from", "until"))
        if end <= start:
            raise _wrong(document, "a shift ends before it begins", number)
        shifts.append(Shift(start, end, str(item["person"])))
    return make_rota(team, shifts, _moment(document, top["until"]), str(top["source"] or ""))


def write_rota(rota: Rota) -> str:
    """Give the text of a plan's file."""
    shifts = [
        {"person": s.person, "from": write_moment(s.start), "until": write_moment(s.end)} for s in rota.shifts
    ]
    value = {
        "team": rota.team,
        "source": rota.source,
        "until": write_moment(rota.until),
        "shifts": shifts,
    }
    head = "# Written by `mimrun people oncall import`; import the plan again instead of changing it here.\n"
    return head + yaml.safe_dump(value, sort_keys=False, allow_unicode=True)


def _moment(document: Document, value: object, number: int | None = None) -> datetime:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError as exc:
        raise _wrong(document, f"{value!r} is no time", number) from exc
    if moment.tzinfo is None:
        raise _wrong(document, f"{value!r} has no time zone", number)
    return moment


def _wrong(document: Document, message: str, number: int | None = None) -> SettingsError:
    where = ("shifts", number) if number is not None else ()
    return SettingsError(
        problems=[
            document.problem(where, message, "import the plan again with `mimrun people oncall import`")
        ]
    )
