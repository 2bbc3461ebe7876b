"""Who may do something to this very thing: scopes and roles are not enough, and each object is looked at when it is used."""

from __future__ import annotations

import pytest
from builders.plans import a_plan, action, gate, manual
from builders.program import Program
from builders.runs import RESPONDER, Bench
from unit.web.api.conftest import Executing

from mimrun.app.home import Home
from mimrun.app.incident.declaring import Declaration, declare
from mimrun.web.site import Site, make_site


@pytest.fixture
def site(home: Home, executing: Executing) -> Site:
    return make_site(home, start=executing)


def test_a_manual_step_is_for_its_role_and_for_who_has_taken_it_up(
    bench: Bench, home: Home, site: Site
) -> None:
    run, _ = bench.run(a_plan(bench.world, manual("1"), action("2")))
    alex, billie = (Program(home, who, site=site) for who in ("alex", "billie"))
    at = f"/runs/{run}/manual"
    assert alex.get(at)["role"] == "service_desk"
    assert "does not have the role" in billie.post(f"{at}/claim", 403, reason="")["detail"]
    assert alex.post(f"{at}/claim", reason="")["holder"] == "alex"
    assert "does not have the role" in billie.post(f"{at}/attest", 403, evidence={})["detail"]
    assert alex.post(f"{at}/attest", evidence={})["status"] == "succeeded"
    assert alex.get(at, 409)["status"] == 409


def test_the_one_who_attested_does_not_confirm(bench: Bench, home: Home, site: Site) -> None:
    step = manual("1", role=None).model_copy(update={"second": "anybody"})
    run, _ = bench.run(a_plan(bench.world, step, action("2")))
    alex, billie = (Program(home, who, site=site) for who in ("alex", "billie"))
    at = f"/runs/{run}/manual"
    assert alex.post(f"{at}/attest", evidence={})["goes_on"] == "another person has to confirm it"
    assert "second person" in alex.post(f"{at}/confirm", 403)["detail"]
    assert billie.post(f"{at}/confirm")["status"] == "succeeded"


def test_an_approval_is_taken_back_by_who_gave_it_and_one_person_counts_once(
    bench: Bench, home: Home, site: Site
) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1", count=2), action("2")))
    alex, billie = (Program(home, who, site=site) for who in ("alex", "billie"))
    again = Program(home, "alex", "approve", "read", site=site)
    digest = alex.get(f"/runs/{run}/gate")["digest"]
    assert alex.post(f"/runs/{run}/approve", digest=digest)["stands"] == "waiting"
    assert "decided here already" in again.post(f"/runs/{run}/approve", 403, digest=digest)["detail"]
    assert "has not approved" in billie.post(f"/runs/{run}/withdraw", 403, reason="x")["detail"]
    alex.post(f"/runs/{run}/withdraw", reason="a second thought")
    assert billie.post(f"/runs/{run}/approve", digest=digest)["missing"] == {"change_manager": 1}
    assert alex.post(f"/runs/{run}/approve", digest=digest)["status"] == "succeeded"


def test_a_run_that_is_asked_for_in_another_incident_is_refused_where_that_is_not_there(
    home: Home, site: Site
) -> None:
    program = Program(home, "responder", site=site)
    digest = program.post("/plans", runbook="plain", inputs={"word": "x"})["digest"]
    given = {"runbook": "plain", "inputs": {"word": "x"}, "plan": digest}
    program.post("/runs", 404, **given, incident="INC-20200101-NONE")
    mine = declare(home, RESPONDER, Declaration("nobody can pay"))
    made = program.post("/runs", 201, **given, incident=mine)
    assert made["incident"] == mine
    told = program.post("/runs", 400, **given, incident=mine, priority="P1")
    assert "is open already" in told["detail"]


def test_what_a_launch_brings_besides_needs_its_own_scope(home: Home, site: Site) -> None:
    program = Program(home, "responder", "launch", "read", site=site)
    digest = program.post("/plans", runbook="plain", inputs={"word": "x"})["digest"]
    given = {"runbook": "plain", "inputs": {"word": "x"}, "plan": digest, "change": "CHG-1"}
    assert "scope 'change'" in program.post("/runs", 403, **given)["detail"]


def test_a_note_about_a_run_stands_in_the_incident_of_that_run(bench: Bench, home: Home, site: Site) -> None:
    run, _ = bench.run(a_plan(bench.world, action("1")))
    other = declare(home, RESPONDER, Declaration("something else"))
    program = Program(home, "responder", site=site)
    told = program.post(f"/incidents/{other}/notes", 409, text="looked", run=run)
    assert "belongs to" in told["detail"]
    own = bench.state(run).incident
    seq = program.post(f"/incidents/{own}/notes", 201, text="looked", run=run)["seq"]
    assert home.store.entry(seq).run == run


def test_everything_stands_still_by_anybodys_word_and_goes_on_by_that_of_two(home: Home, site: Site) -> None:
    stopper = Program(home, "billie", "stop", "read", site=site)
    assert stopper.post("/kill-switch/pull", reason="wrong hosts")["pulled"]
    program = Program(home, "responder", site=site)
    digest = program.post("/plans", runbook="plain", inputs={"word": "x"})["digest"]
    told = program.post("/runs", 409, runbook="plain", inputs={"word": "x"}, plan=digest)
    assert "wrong hosts" in told["detail"]
    alex, billie = (Program(home, who, site=site) for who in ("alex", "billie"))
    assert alex.post("/kill-switch/lift", reason="over")["pulled"]
    assert alex.post("/kill-switch/lift", 403, reason="over")["status"] == 403
    assert not billie.post("/kill-switch/lift", reason="over")["pulled"]
