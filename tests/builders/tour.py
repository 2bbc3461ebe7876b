"""A bad night in one home: everything that the console has a page for, made by the real command line.

`Tour` has the names of what was made, and the paths of every page.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, fields
from pathlib import Path

from builders.commands import Desk

from mimrun.app.home import operating_system_user

PEOPLE = f"""\
shared: ['{operating_system_user()}']
people:
  robin: {{name: Robin Ek, roles: [responder], accounts: ['{operating_system_user()}']}}
  alex: {{name: Alex Moore, roles: [change_manager]}}
  sam: {{name: Sam Okoye, roles: [service_desk]}}
  max: {{name: Max Lind, roles: [major_incident_manager]}}
"""
GROUPS = {"web": 12, "api": 4, "job": 8, "archive": 1}
HOSTS = "".join(
    f"[{group}]\n" + "".join(f"{group}{number:02d}\n" for number in range(1, many + 1))
    for group, many in GROUPS.items()
)
_HEAD = """\
schema: mimrun/1
name: {name}
version: 1.0.0
title: {title}
stage: containment
owner: web-oncall
risk: {risk}
inputs:
  release: {{type: string, pattern: "[0-9.]+", help: The release to go back to, default: "4.1.7"}}
hosts: {hosts}
limits: {{hosts: 12}}
steps:
"""
_LOOK = """\
  - name: Pages are served, for better or worse
    local.command: {argv: [echo, "{{ inventory_hostname }} answers 503"], changed: false}
    effect: {class: read, reason: It only looks.}
"""
_GATE = """\
  - name: Going back is approved
    gate: {change: emergency, approvals: [{role: change_manager}], expires: 30m, on_timeout: fail}
"""
_CHANGE = """\
  - name: Go back to {{ release }}
    serial: [1, "50%"]
    local.shell: {cmd: "echo {{ inventory_hostname | quote }} now runs {{ release }}; echo {{ inventory_hostname | quote }} >> released"}
    undo: {local.shell: {cmd: "echo {{ inventory_hostname | quote }} >> taken-back"}}
  - name: Pages are served again
    local.command: {argv: [echo, "200 OK"], changed: false}
    effect: {class: read, reason: It only looks.}
    expect: result.rc == 0
"""
_MANUAL = """\
  - name: Tell the service desk
    manual:
      role: service_desk
      instructions: "Post on the portal that the shop is back, and which orders have to be looked at."
      checklist: ["The post is public", "The telephone team has read it"]
      evidence: {link: {type: url, help: The post on the portal.}}
"""
_FAILS = """\
  - name: Restart what hangs
    local.shell: {cmd: "test {{ inventory_hostname | quote }} != job05 || { echo 'unit is masked' >&2; exit 3; }"}
"""
_DOUBT = """\
  - name: Drain the queue into the archive
    effect: {class: once, reason: A message that is drained is gone.}
    timeout: 1s
    local.shell: {cmd: "echo half of it; sleep 5"}
"""
ALERT = {
    "receiver": "mimrun",
    "status": "firing",
    "alerts": [
        {
            "status": "firing",
            "labels": {
                "alertname": "ShopAnswers503",
                "service": "shop",
                "severity": "critical",
                "site": "north",
            },
            "annotations": {"summary": "41% of the pages of shop answer 503", "value": "0.41"},
            "startsAt": "2026-11-22T02:58:24.180Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "https://prometheus.example.org/graph?g0.expr=errors",
            "fingerprint": "1f36d4528c63a578",
        },
        {
            "status": "resolved",
            "labels": {"alertname": "DiskFills", "service": "archive", "severity": "warning"},
            "annotations": {"summary": "91% of /srv is used", "value": "0.91"},
            "startsAt": "2026-11-22T01:02:03.000Z",
            "endsAt": "2026-11-22T02:02:03.000Z",
            "generatorURL": "",
            "fingerprint": "9911aabbccddeeff",
        },
    ],
    "version": "4",
    "groupKey": "{}",
}


RULES = """\
rules:
  - name: shop-answers-503
    title: The shop answers 503
    match: {severity: critical, labels: {alertname: ShopAnswers503}}
    group_by: [site]
    action: propose
    runbook: close-shop
    inventory: [inventory.ini]
    incident: {title: The shop answers 503, impact: medium, urgency: high, services: [shop]}
"""


@dataclass
class Tour:
    """What there is to see.

    Arguments:
        incident: one that is being worked on.
        done, gate, manual, failed, doubt: runs, by how they stand.
        proposal: what a rule proposes.
        alert: the entry of an alert.
        said: the entry with what a command wrote.
    """

    desk: Desk
    incident: str
    done: str
    gate: str
    manual: str
    failed: str
    doubt: str
    proposal: str
    alert: int
    said: int

    def path(self, pattern: str) -> str:
        """Fill names into the pattern of a path: `/runs/{done}`."""
        names = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "desk"}
        return pattern.format(**names)


def make_tour(folder: Path) -> Tour:
    """Have the bad night."""
    desk = Desk(folder)
    (folder / "library").mkdir()
    desk.env["MIMRUN_RUNBOOKS"] = str(folder / "library")
    (desk.home / "people.yaml").write_text(PEOPLE)
    (desk.home / "inventory.ini").write_text(HOSTS)
    desk.write("hosts.ini", HOSTS)
    said = desk(
        "incident", "declare", "Nobody can pay in the shop", "--impact", "high", "--urgency", "high",
        "--service", "shop", "--text", "Since the release of 02:50 the checkout answers 503.", "--json",
    )  # fmt: skip
    incident = str(said.json["incident"])
    desk.write("alert.json", json.dumps(ALERT))
    desk("alert", "send", str(folder / "alert.json"), "--kind", "alertmanager")
    back = _LOOK + _GATE + _CHANGE
    done = _run(desk, incident, "roll-back", "Go back to the last release", "medium", "web", back)
    _agree(desk, done)
    manual = _run(desk, incident, "go-back", "Go back, and tell people", "medium", "api", back + _MANUAL)
    _agree(desk, manual)
    failed = _run(desk, incident, "restart-jobs", "Restart what hangs", "low", "job", _LOOK + _FAILS)
    doubt = _run(desk, incident, "drain-queue", "Drain a queue", "low", "archive", _LOOK + _DOUBT)
    gate = _run(desk, incident, "close-shop", "Show that the shop is closed", "high", "web", back)
    (desk.home / "rules").mkdir()
    (desk.home / "rules" / "shop.yaml").write_text(RULES)
    desk("worker", "--once")
    (proposal,) = desk("proposal", "list", "--json").json
    desk("incident", "assign", incident, "technical_lead", "robin")
    desk("incident", "stage", incident, "containment")
    desk("note", "the errors began with the release of 02:50", "--incident", incident)
    desk("did", "told the support desk by telephone", "--at", "2m ago", "--incident", incident)
    alert = next(one["seq"] for one in desk("alert", "list", "--json").json if one["status"] == "firing")
    entries = [json.loads(line) for line in desk("log", "show", failed, "--json").out.splitlines()]
    said = next(one["seq"] for one in entries if one["kind"] == "step.outcome")
    return Tour(desk, incident, done, gate, manual, failed, doubt, proposal["proposal"], alert, said)


def _run(desk: Desk, incident: str, name: str, title: str, risk: str, hosts: str, steps: str) -> str:
    book = desk.write(
        f"library/{name}.yaml", _HEAD.format(name=name, title=title, risk=risk, hosts=hosts) + steps
    )
    said = desk.run(str(book), "-i", str(desk.folder / "hosts.ini"), "--incident", incident)
    found = re.search(r"run-[a-z0-9]+", said.out + said.err)
    assert found is not None, said.out + said.err
    return found[0]


def _agree(desk: Desk, run: str) -> None:
    assert desk("approve", run, "--as", "alex", "--yes").code == 0
    said = desk("resume", run, "--direct")
    assert said.code in (0, 3), said.out + said.err
