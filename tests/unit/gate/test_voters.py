"""A voter whose role has gone does not count any more, however it went: in a real run behind a real gate."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from builders.plans import a_plan, action, gate, manual
from builders.runs import ALEX, Bench, person
from builders.world import words

from mimrun.app.decisions import attest, decide, pending_gate
from mimrun.app.persons import require_known
from mimrun.errors import GateError
from mimrun.gate.oncall import Shift, make_rota
from mimrun.gate.people_oncall import write_rota

STAFF = "people:\n  responder: {roles: [responder]}\n  billie: {roles: [change_manager]}\n"
NOW = datetime.now(UTC)
ENDED = "2026-01-01T00:00:00Z"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def approved(bench: Bench) -> str:
    """Give a run whose gate alex has opened, and that was not gone on with yet."""
    run, verdict = bench.run(a_plan(bench.world, gate("1"), action("2")))
    assert verdict.status == "waiting"
    with bench.home() as home:
        pending = pending_gate(home, run)
        decide(home, pending, ALEX, "approved", digest=pending.request.digest)
    return run


@pytest.mark.parametrize(
    "alex",
    [
        "{active: false, roles: [change_manager]}",
        "{roles: []}",
        f"{{roles: [{{role: change_manager, until: '{ENDED}'}}]}}",
        f"{{roles: [change_manager, {{role: external_consultant, until: '{ENDED}'}}]}}",
        "{roles: [{role: change_manager, teams: [another]}]}",
        "{roles: [auditor]}",
    ],
)
def test_the_vote_of_somebody_whose_role_has_gone_does_not_count(bench: Bench, alex: str) -> None:
    run = approved(bench)
    bench.settings.people.write_text(f"{STAFF}  alex: {alex}\nteams: {{another: {{}}}}\n")
    assert bench.execute(run).status == "waiting"
    assert words(bench.world) == []
    bench.settings.people.write_text(f"{STAFF}  alex: {{roles: [change_manager]}}\n")
    assert bench.execute(run).status == "succeeded"
    assert len(words(bench.world)) == 1


def test_a_role_that_has_not_ended_yet_counts(bench: Bench) -> None:
    run = approved(bench)
    later = f"{NOW + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
    bench.settings.people.write_text(
        f"{STAFF}  alex: {{roles: [{{role: change_manager, until: '{later}'}}]}}\n"
    )
    assert bench.execute(run).status == "succeeded"


def test_a_gate_can_ask_for_whoever_is_on_call(bench: Bench) -> None:
    bench.settings.people.write_text(f"{STAFF}  alex: {{}}\nteams: {{dba: {{}}}}\n")
    run, _ = bench.run(a_plan(bench.world, gate("1", role="oncall_dba"), action("2")))
    folder = bench.settings.home / "oncall"
    folder.mkdir()
    shift = Shift(NOW - timedelta(hours=1), NOW + timedelta(hours=1), "alex")
    (folder / "dba.yaml").write_text(write_rota(make_rota("dba", [shift], shift.end)))
    with bench.home() as home:
        pending = pending_gate(home, run)
        billie = home.people().person("billie")
        with pytest.raises(GateError, match="billie has change_manager; this gate needs oncall_dba"):
            decide(home, pending, person("billie", *billie.roles), "approved", digest=pending.request.digest)
        alex = home.people().person("alex")
        decide(home, pending, person("alex", *alex.roles), "approved", digest=pending.request.digest)
    (folder / "dba.yaml").write_text(
        write_rota(make_rota("dba", [Shift(NOW - timedelta(hours=2), NOW, "alex")], NOW))
    )
    assert bench.execute(run).status == "waiting"  # the shift is over
    (folder / "dba.yaml").write_text(write_rota(make_rota("dba", [shift], shift.end)))
    assert bench.execute(run).status == "succeeded"


@pytest.mark.parametrize(
    ("alex", "said"),
    [
        (
            "{active: false, roles: [responder]}",
            "alex is not active any more, and cannot lift it; another person must",
        ),
        ("{roles: [auditor]}", "alex is an auditor, who decides nothing"),
        (
            f"{{roles: [responder, {{role: external_consultant, until: '{ENDED}'}}]}}",
            "no engagement as a consultant",
        ),
    ],
)
def test_who_decides_nothing_is_told_why(bench: Bench, alex: str, said: str) -> None:
    bench.settings.people.write_text(f"{STAFF}  alex: {alex}\n")
    with bench.home() as home, pytest.raises(GateError, match=said):
        require_known(home, ALEX, "lift it")


def test_a_consultant_of_some_teams_is_engaged(bench: Bench) -> None:
    later = f"{NOW + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
    role = f"{{role: external_consultant, until: '{later}', teams: [dba]}}"
    bench.settings.people.write_text(f"{STAFF}  alex: {{roles: [responder, {role}]}}\nteams: {{dba: {{}}}}\n")
    with bench.home() as home:
        assert require_known(home, ALEX, "lift it", roles={"responder"}).id == "alex"


def test_a_consultant_approves_nothing_by_that_alone(bench: Bench) -> None:
    later = f"{NOW + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
    bench.settings.people.write_text(
        f"{STAFF}  alex: {{roles: [{{role: external_consultant, until: '{later}'}}]}}\n"
    )
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    with bench.home() as home:
        pending, alex = pending_gate(home, run), home.people().person("alex")
        with pytest.raises(GateError, match="alex has external_consultant; this gate needs change_manager"):
            decide(home, pending, person("alex", *alex.roles), "approved", digest=pending.request.digest)


@pytest.mark.parametrize(("team", "status"), [("testers", "succeeded"), ("another", "waiting")])
def test_a_role_for_a_team_allows_what_that_team_keeps(bench: Bench, team: str, status: str) -> None:
    teams = "teams: {testers: {}, another: {}}\n"
    role = f"{{roles: [{{role: change_manager, teams: [{team}]}}]}}"
    bench.settings.people.write_text(f"{STAFF}  alex: {role}\n{teams}")
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    with bench.home() as home, contextlib.suppress(GateError):
        pending = pending_gate(home, run)
        decide(home, pending, ALEX, "approved", digest=pending.request.digest)
    assert bench.execute(run).status == status


@pytest.mark.parametrize(("team", "allowed"), [("testers", True), ("another", False)])
def test_a_role_for_a_team_does_the_manual_steps_of_what_that_team_keeps(
    bench: Bench, team: str, allowed: bool
) -> None:
    role = f"{{roles: [{{role: service_desk, teams: [{team}]}}]}}"
    bench.settings.people.write_text(f"{STAFF}  alex: {role}\nteams: {{testers: {{}}, another: {{}}}}\n")
    run, _ = bench.run(a_plan(bench.world, manual("1", role="service_desk"), action("2")))
    with bench.home() as home:
        if allowed:
            attest(home, run, ALEX, {})
        else:
            with pytest.raises(GateError, match="does not have the role service_desk"):
                attest(home, run, ALEX, {})
