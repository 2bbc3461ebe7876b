"""Strings that want to be obeyed, in every field that somebody can fill from outside and that a page shows.

`STRINGS` has the strings. `fill` records each of them everywhere, and says where it must be read as text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

from builders.plans import a_plan, action, gate, manual
from builders.runs import ALEX, RESPONDER, Bench

from mimrun.app.attachments import Attachment
from mimrun.app.decisions import decide, pending_gate
from mimrun.app.home import Home
from mimrun.app.incident import working
from mimrun.app.incident.declaring import Declaration, declare
from mimrun.app.manual_work import Place, Report, report_work, write_note
from mimrun.app.runs import create_run
from mimrun.app.shown.text import safe
from mimrun.app.stopping import request_stop
from mimrun.incident.alert import Alert, alert_draft, alert_key
from mimrun.log.entry import Actor, Blob, Draft
from mimrun.log.kinds import ProposalMade, RuleFired
from mimrun.run.record.wish import Level
from mimrun.runbook.plan import Plan

STRINGS: Final[Sequence[str]] = json.loads(
    (Path(__file__).parents[1] / "cases" / "injections.json").read_text("utf-8")
)
DIGEST: Final = "sha256:" + "0" * 64
RULE: Final = Actor("system", "rule:hostile", "engine")


@dataclass
class Planted:
    """Where one string was put.

    Arguments:
        text: the string, with a mark in front by which its place on a page is found.
        shown: by what the field is called, the page that must show it.
        pages: more pages that are concerned.
    """

    text: str
    shown: dict[str, str] = field(default_factory=dict)
    pages: list[str] = field(default_factory=list)


def mark(number: int) -> str:
    """Give what stands in front of a string."""
    return f"k{number:02}k"


def people(strings: Mapping[int, str]) -> str:
    """Give a people file with everybody of the bench, and somebody called by each string."""
    known = {
        "responder": {"roles": ["responder"]},
        "alex": {"roles": ["change_manager", "service_desk"]},
        "billie": {"roles": ["change_manager"]},
        # No file may have invisible characters.
        **{f"p{number:02}": {"name": text} for number, text in strings.items() if text == safe(text)},
    }
    return json.dumps({"people": known})


def fill(bench: Bench, strings: Mapping[int, str]) -> list[Planted]:
    """Record each string everywhere."""
    bench.settings.people.write_text(people(strings))
    planted, begun = [], []
    with bench.home() as home:
        for number, string in strings.items():
            one = Planted(mark(number) + string)
            incident = _incident(home, one)
            _alert(home, one, incident)
            begun.append((one, incident, _runs(bench, home, one, incident)))
            planted.append(one)
    for one, incident, (waiting, by_hand) in begun:
        bench.execute(waiting)
        bench.execute(by_hand)
        _decided(bench, one, waiting, by_hand)
        one.pages.append(f"/incidents/{incident}")
    return planted


def _incident(home: Home, one: Planted) -> str:
    text = one.text
    incident = declare(home, RESPONDER, Declaration(text, "high", "high", (text,), text=text))
    path = f"/incidents/{incident}"
    one.shown |= {"the title of an incident": path, "a service": path, "what is known": path}
    write_note(home, RESPONDER, Place(incident), f"n {text}", [_file(text)])
    report_work(
        home, RESPONDER, Place(incident), Report(f"d {text}", home.clock() - timedelta(minutes=5), text)
    )
    working.link(home, RESPONDER, incident, "record", text)
    working.move_stage(home, RESPONDER, incident, "resolution", reason=f"s {text}")
    everything = f"{path}?shown=all"
    one.shown |= {"a note": everything, "work by hand": everything, "the name of a file": everything}
    one.shown |= {"a record elsewhere": path, "why it is contained": everything}
    return incident


def _file(name: str) -> Attachment:
    return Attachment(name, "text/plain", "sha256:" + "1" * 64, 1, None)


def _alert(home: Home, one: Planted, incident: str) -> None:
    text = one.text
    alert = Alert(
        source="prometheus",
        key=alert_key("prometheus", [text]),
        fingerprint=f"f {text}",
        status="firing",
        title=text,
        service=text[:64],
        value=text[:64],
        labels={text: text},
        annotations={"summary": text},
        url=text,
        raw_digest=DIGEST,
    )
    (entry,) = home.store.append([alert_draft(alert, Actor("system", "alert:prometheus", "web", "token"))])
    fired = RuleFired(
        rule=f"r {text}",
        rules=DIGEST,
        episode="e",
        group=text,
        outcome="notified",
        reason=text,
        alerts=(entry.seq,),
    )
    home.store.append([Draft(RULE, fired, inc=incident)])
    one.shown |= {"the title of an alert": "/alerts", "a rule": "/alerts", "a label": f"/log/{entry.seq}"}


def _runs(bench: Bench, home: Home, one: Planted, incident: str) -> tuple[str, str]:
    text = one.text
    two = gate("2", count=2).model_copy(update={"name": f"g {text}"})
    step = action("1", word=f"w {text}").model_copy(update={"name": f"a {text}"})
    asked = manual("1", role=None, instructions=f"i {text}")
    by_hand = asked.model_copy(update={"name": f"m {text}", "checklist": (f"c {text}",)})
    plans = [_titled(a_plan(bench.world, *nodes), text) for nodes in ((step, two), (by_hand,))]
    proposal = ProposalMade(
        proposal=f"prop-{text[:3]}",
        rule=f"r {text}",
        runbook="test",
        version="1.0.0",
        digest=plans[0].digest,
        title=f"p {text}",
        risk="medium",
        expires_at=home.clock() + timedelta(hours=1),
    )
    blobs = (Blob("plan", plans[0].encode(), "plan"),)
    home.store.append([Draft(RULE, proposal, inc=incident, blobs=blobs)])
    first, second = (create_run(home, plan, RESPONDER, incident=incident) for plan in plans)
    one.shown |= {"the title of a run": f"/runs/{first}", "a step": f"/runs/{first}"}
    one.shown |= {"a gate": f"/runs/{first}/gate", "work to be done": f"/runs/{second}"}
    one.shown |= {"an item of a checklist": f"/runs/{second}", "a proposal": "/"}
    one.shown["what a step wrote"] = f"/runs/{first}/cell?step=1&target=a"
    one.pages += [f"/proposals/prop-{text[:3]}"]
    return first, second


def _titled(plan: Plan, title: str) -> Plan:
    return plan.model_copy(update={"runbook": plan.runbook.model_copy(update={"title": title})})


def _decided(bench: Bench, one: Planted, waiting: str, by_hand: str) -> None:
    with bench.home() as home:
        pending = pending_gate(home, waiting)
        decide(home, pending, ALEX, "approved", digest=pending.request.digest, reason=f"y {one.text}")
        request_stop(home, by_hand, RESPONDER, Level.PAUSE, f"q {one.text}")
    one.shown |= {"why somebody agreed": f"/runs/{waiting}/gate"}
