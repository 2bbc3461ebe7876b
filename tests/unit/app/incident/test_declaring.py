"""Declaring incidents: by anybody, at any time, and with a priority that counts where the policy says so."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from builders.runs import ALEX, RESPONDER, Bench, person

from mimrun.app.incident.declaring import Declaration, declare, prioritizers
from mimrun.app.incident.view import find_incident
from mimrun.errors import GateError, InputError
from mimrun.log.kinds import IncidentAssessed, IncidentPrioritized, Kind
from mimrun.log.moment import write_moment

BAD = Declaration("Nobody can pay", "high", "high", ("payments",), ("security",))


def kinds_of(bench: Bench, incident: str) -> list[Kind]:
    with bench.home() as home:
        return [entry.kind for entry in home.store.entries(inc=incident)]


def test_whoever_may_say_how_urgent_it_is_declares_it_in_the_same_moment(bench: Bench) -> None:
    with bench.home() as home:
        before = home.store.head().size
        name = declare(home, ALEX, BAD)
        one = find_incident(home, name)
        new = [*home.store.entries(inc=name, after=before)]
    assert (one.title, one.opened_by, one.declared.priority) == ("Nobody can pay", "alex", "P1")
    assert (one.state.severity, one.state.services) == ("SEV1", ("payments",))
    assert [entry.kind for entry in new] == [
        Kind.INCIDENT_OPENED,
        Kind.INCIDENT_ASSESSED,
        Kind.INCIDENT_PRIORITIZED,
    ]
    assert [entry.seq - new[0].seq for entry in new] == [0, 1, 2]


def test_whoever_may_not_only_assesses_it_and_is_told_who_may(bench: Bench) -> None:
    with bench.home() as home:
        one = find_incident(home, declare(home, RESPONDER, BAD))
        who = prioritizers(home)
    assert (one.declared.priority, one.state.priority) == (None, "P1")
    assert (who.roles, who.people) == (("major_incident_manager", "service_desk"), ("alex",))
    assert who.words == "major_incident_manager or service_desk may: alex"


def test_a_stranger_may_declare_and_somebody_who_has_left_may_not(bench: Bench) -> None:
    with bench.home() as home:
        assert declare(home, person("nobody-knows-me"), BAD)
        size = home.store.head().size
        bench.settings.people.write_text("people:\n  gone: {roles: [service_desk], active: false}\n")
        with pytest.raises(GateError, match="not active any more, and cannot declare an incident"):
            declare(home, person("gone"), BAD)
        assert home.store.head().size == size


def test_what_is_left_out_is_unknown_and_counts_as_bad(bench: Bench) -> None:
    with bench.home() as home:
        one = find_incident(home, declare(home, ALEX, Declaration("  It   is slow ")))
    assert (one.title, one.state.impact, one.state.urgency) == ("It is slow", "unknown", "unknown")
    assert (one.state.priority, one.state.severity) == ("P2", "SEV3")


def test_times_and_a_parent_are_told_in_the_same_append(bench: Bench) -> None:
    with bench.home() as home:
        parent = declare(home, ALEX, BAD)
        now = home.clock()
        times = {"started": now - timedelta(minutes=9), "detected": now - timedelta(minutes=5)}
        said = replace(BAD, times=times, parent=parent[:-1])
        one = find_incident(home, declare(home, ALEX, said))
        above = find_incident(home, parent)
    assert one.state.clocks.started.at == write_moment(times["started"])
    assert (one.state.clocks.detected.source, one.state.parent) == ("seen", parent)
    assert above.state.children == (one.name,)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"title": "  "}, "say what is broken"),
        ({"title": "x" * 201}, "201 characters and 200 is the most"),
        ({"flags": ("securty",)}, "did you mean 'security'"),
        ({"parent": "INC-19990101-XXXX"}, "has no incident"),
        ({"text": "x" * (1024 * 1024 + 1)}, "attach it as a file"),
    ],
)
def test_what_cannot_be_declared_leaves_nothing_behind(
    bench: Bench, changes: dict[str, object], why: str
) -> None:
    with bench.home() as home:
        size = home.store.head().size
        with pytest.raises(InputError, match=why):
            declare(home, ALEX, replace(BAD, **changes))  # type: ignore[arg-type]
        assert home.store.head().size == size


def test_what_began_after_it_was_noticed_or_is_yet_to_come_is_refused(bench: Bench) -> None:
    with bench.home() as home:
        now, minute = home.clock(), timedelta(minutes=1)
        for times, why in (
            ({"started": now + minute}, "yet to come"),
            ({"started": now - minute, "detected": now - 2 * minute}, "mend it first"),
        ):
            with pytest.raises(InputError, match=why):
                declare(home, ALEX, replace(BAD, times=times))


def test_a_spoilt_table_does_not_keep_anybody_from_declaring(bench: Bench) -> None:
    bench.settings.incidents.write_text("matrx: {}\n")
    with bench.home() as home:
        name = declare(home, ALEX, BAD)
        (assessed,) = home.store.entries(inc=name, kinds={Kind.INCIDENT_ASSESSED})
    assert isinstance(assessed.body, IncidentAssessed)
    assert assessed.body.priority == "P1"
    assert assessed.body.reason.startswith("by mimrun's own table, as ")
    assert "incidents.yaml:1:1: unknown key 'matrx'" in assessed.body.reason


def test_the_table_of_the_home_is_followed_and_on_record(bench: Bench) -> None:
    bench.settings.incidents.write_text("matrix:\n  high: {high: P3, medium: P3, low: P3, unknown: P3}\n")
    with bench.home() as home:
        name = declare(home, ALEX, BAD)
        (declared,) = home.store.entries(inc=name, kinds={Kind.INCIDENT_PRIORITIZED})
        recorded = [getattr(e.body, "file", "") for e in home.store.entries(kinds={Kind.RULES_RECORDED})]
    assert isinstance(declared.body, IncidentPrioritized)
    assert declared.body.priority == "P3"
    assert "incidents" in recorded


def test_secrets_that_are_known_here_are_masked(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", "hunter2-hunter2")
    inventory = bench.settings.home / "hosts.yaml"
    inventory.write_text("all: {hosts: {db1: {db_password: 'env:DB_PASSWORD'}}}\n")
    bench.settings = replace(bench.settings, inventory=inventory)
    with bench.home() as home:
        said = replace(BAD, title="hunter2-hunter2 is out", text="it was hunter2-hunter2")
        name = declare(home, ALEX, said)
        (assessed,) = home.store.entries(inc=name, kinds={Kind.INCIDENT_ASSESSED})
        text = home.store.blob(assessed, "text") or b""
        title = find_incident(home, name).title
    assert "hunter2" not in title + text.decode()
    assert title.endswith("is out")


def test_two_at_the_same_moment_are_two_incidents(bench: Bench) -> None:
    with bench.home() as home:
        names = {declare(home, ALEX, BAD) for _ in range(20)}
    assert len(names) == 20
