"""Runs through the API: what was planned is what is launched, once, and everything a person can do a program can."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

import pytest
from builders.program import Program
from builders.runs import Bench
from unit.web.api.conftest import Executing

from mimrun.app.home import Home
from mimrun.app.launching import Launched
from mimrun.app.server import starting
from mimrun.app.server.planning import plan_at_server
from mimrun.errors import RunError
from mimrun.log.kinds import Kind
from mimrun.web.site import make_site

KEY = "a-key-of-twenty-letters"


def planned(program: Program, runbook: str = "plain", **inputs: Any) -> str:
    made: str = program.post("/plans", runbook=runbook, inputs=inputs)["digest"]
    return made


def launch(program: Program, runbook: str = "plain", *, key: str = "", **inputs: Any) -> Any:
    digest = planned(program, runbook, **inputs)
    return program.post("/runs", 201, key=key, runbook=runbook, inputs=inputs, plan=digest)


def test_what_was_planned_is_launched_and_executed(home: Home, executing: Executing) -> None:
    program = Program(home, "responder", start=executing)
    made = launch(program, word="hello")
    assert executing.started == [made["run"]]
    shown = program.get(f"/runs/{made['run']}")
    assert shown["status"] == "succeeded"
    assert shown["recap"]["changed"] == 1
    assert [cell["status"] for cell in shown["cells"]] == ["ok"]
    assert shown["launched_by"] == "responder"
    entry = next(home.store.entries(run=made["run"], kinds={Kind.RUN_CREATED}))
    assert (entry.actor.via, entry.actor.auth.partition(":")[0]) == ("web", "token")
    assert program.get(f"/runs/{made['run']}/plan")["digest"] == made["plan"]


def test_a_plan_changes_nothing_and_is_the_same_again(home: Home) -> None:
    program, before = Program(home, "responder"), 0
    first = program.post("/plans", runbook="plain", inputs={"word": "hello"})
    before = home.store.head().size
    assert program.post("/plans", runbook="plain@1.0.0", inputs={"word": "hello", "many": 3}) == first
    assert home.store.head().size == before


def test_an_inventory_of_the_servers_home_can_be_chosen_and_no_other_file(home: Home) -> None:
    program = Program(home, "responder")
    home.settings.inventories.mkdir()
    (home.settings.inventories / "second.ini").write_text("elsewhere ansible_connection=local\n")
    asked: dict[str, Any] = {"runbook": "plain", "inputs": {"word": "hello"}, "inventory": "second.ini"}
    made = program.post("/plans", **asked)
    assert [host["name"] for host in made["plan"]["targets"]] == ["elsewhere"]
    run = program.post("/runs", 201, **asked, plan=made["digest"])
    assert run["plan"] == made["digest"]
    for name in ("../people.yaml", "/etc/hosts", "third.ini"):
        told = program.post("/plans", 400, **{**asked, "inventory": name})
        assert told["detail"].endswith("has: second.ini")


def test_another_plan_than_was_looked_at_launches_nothing(home: Home) -> None:
    program = Program(home, "responder")
    digest = planned(program, word="hello")
    before = home.store.head().size
    told = program.post("/runs", 409, runbook="plain", inputs={"word": "other"}, plan=digest)
    assert "plan it again" in told["detail"]
    assert home.store.head().size == before


def test_the_same_key_gives_the_same_run_also_after_a_restart(home: Home, executing: Executing) -> None:
    first = launch(Program(home, "responder", start=executing), key=KEY, word="hello")
    again = Program(home, "responder", start=executing)
    answer = again.send("/runs", KEY, runbook="plain", inputs={"word": "hello"}, plan=first["plan"])
    assert (answer.status_code, answer.json()["run"]) == (200, first["run"])
    assert answer.headers["location"] == f"/api/v1/runs/{first['run']}"
    assert executing.started == [first["run"]]
    other = planned(again, word="other")
    told = again.post("/runs", 409, key=KEY, runbook="plain", inputs={"word": "other"}, plan=other)
    assert "another plan" in told["detail"]


def test_two_people_with_the_same_key_launch_two_runs(home: Home) -> None:
    one = launch(Program(home, "responder"), key=KEY, word="hello")
    two = launch(Program(home, "alex"), key=KEY, word="hello")
    assert one["run"] != two["run"]


@pytest.mark.parametrize(
    "reference",
    ["/etc/passwd", "../plain", "plain.yaml", "library/containment/plain.yaml", "plain@", "@x", "PLAIN", ""],
)
def test_a_runbook_is_named_and_never_a_path(home: Home, reference: str) -> None:
    told = Program(home, "responder").send("/plans", runbook=reference, inputs={})
    assert told.status_code in (400, 422)


@pytest.mark.parametrize("name", ["@/etc/passwd", "word:", "a=b", "-o", "a b", ""])
def test_the_name_of_an_input_is_a_name(home: Home, name: str) -> None:
    told = Program(home, "responder").post("/plans", 400, runbook="plain", inputs={name: "x"})
    assert "name of an input" in told["detail"]


@pytest.mark.parametrize("value", ["@/etc/passwd", "env:HOME", "{{ 7 * 7 }}", "-x", "A"])
def test_the_value_of_an_input_is_data(home: Home, value: str) -> None:
    told = Program(home, "responder").post("/plans", 400, runbook="plain", inputs={"word": value})
    assert "pattern" in told["detail"]
    assert told["problems"][0]["file"] == "inputs"


@pytest.mark.parametrize(
    "reference", ["env:PATH", "file:/etc/passwd", "vault:kv/other#x", "vault:kv/ops/../x#y"]
)
def test_a_secret_that_the_server_could_read_cannot_be_named(
    home: Home, monkeypatch: pytest.MonkeyPatch, reference: str
) -> None:
    monkeypatch.setenv("MIMRUN_TEST_DEFAULT", "x")
    told = Program(home, "responder").post("/plans", 409, runbook="secret", inputs={"password": reference})
    assert "cannot be chosen here" in told["detail"]
    assert reference not in told["detail"]


def test_a_secret_of_the_runbook_and_one_that_the_settings_let_people_name_are_taken(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIMRUN_TEST_DEFAULT", "x")
    bench.settings = replace(bench.settings, server_secrets=("vault:kv/ops/*", "env:MIMRUN_TEST_OTHER"))
    with bench.home() as home:
        plan_at_server(home, "secret", {})
        plan_at_server(home, "secret", {"password": "env:MIMRUN_TEST_DEFAULT"})
        plan_at_server(home, "secret", {"password": "env:MIMRUN_TEST_OTHER"})
        plan_at_server(home, "secret", {"password": "vault:kv/ops/db#password"})


def test_what_was_typed_into_a_form_has_the_types_of_the_inputs(home: Home) -> None:
    typed = plan_at_server(home, "plain", {"word": "hello", "many": "7"}, typed=True)
    assert typed.inputs == {"word": "hello", "many": 7}
    assert typed.digest == plan_at_server(home, "plain", {"word": "hello", "many": 7}).digest
    assert plan_at_server(home, "plain", {"word": "hello", "many": ""}, typed=True).inputs["many"] == 3


def test_runs_come_in_pages_the_newest_first(home: Home) -> None:
    program = Program(home, "responder")
    names = [launch(program, word=word)["run"] for word in ("one", "two", "three")]
    first = program.get("/runs?limit=2")
    assert [one["run"] for one in first["items"]] == [names[2], names[1]]
    rest = program.get(f"/runs?limit=2&before={first['next']}")
    assert [one["run"] for one in rest["items"]] == [names[0]]
    assert rest["next"] is None


def test_a_run_is_named_whole(home: Home) -> None:
    program = Program(home, "responder")
    name = launch(program, word="hello")["run"]
    for beginning in (name[:-1], name.removeprefix("run-"), "latest", "run-none"):
        program.get(f"/runs/{beginning}", 404)
        program.post(f"/runs/{beginning}/cancel", 404, reason="x")


def test_a_run_is_stopped_and_gone_on_with(home: Home, executing: Executing) -> None:
    program = Program(home, "responder", start=executing)
    made = launch(program, "gated")
    assert program.get(f"/runs/{made['run']}")["waits_on"] == "gate"
    assert program.post(f"/runs/{made['run']}/pause", reason="wait")["status"] == "waiting"
    assert program.post(f"/runs/{made['run']}/resume")["run"] == made["run"]
    assert program.post(f"/runs/{made['run']}/cancel", reason="enough")["status"] == "cancelled"
    told = program.post(f"/runs/{made['run']}/abort", 409, reason="now")
    assert "is over already" in told["detail"]


def test_a_gate_is_decided_by_the_digest_of_what_was_looked_at(home: Home, executing: Executing) -> None:
    responder, alex = (Program(home, who, start=executing) for who in ("responder", "alex"))
    run = launch(responder, "gated")["run"]
    gate = alex.get(f"/runs/{run}/gate")
    assert gate["stands"] == "waiting"
    assert gate["segment"]["nodes"]
    told = alex.post(f"/runs/{run}/approve", 403, digest="sha256:" + "0" * 64)
    assert "has changed" in told["detail"]
    told = responder.post(f"/runs/{run}/approve", 403, digest=gate["digest"])
    assert "cannot approve it" in told["detail"]
    said = alex.post(f"/runs/{run}/approve", digest=gate["digest"], reason="go")
    assert (said["stands"], said["status"], said["goes_on"]) == ("open", "succeeded", "")
    assert alex.get(f"/runs/{run}/gate", 409)["status"] == 409


def test_a_rejection_needs_a_reason_and_ends_the_run(home: Home, executing: Executing) -> None:
    responder, alex = (Program(home, who, start=executing) for who in ("responder", "alex"))
    run = launch(responder, "gated")["run"]
    digest = alex.get(f"/runs/{run}/gate")["digest"]
    alex.post(f"/runs/{run}/reject", 422, digest=digest)
    alex.post(f"/runs/{run}/reject", 422, digest=digest, reason="  ")
    assert alex.post(f"/runs/{run}/reject", digest=digest, reason="no")["status"] == "failed"


def test_a_run_is_taken_back_by_the_digest_of_the_way_back(home: Home, executing: Executing) -> None:
    responder, alex = (Program(home, who, start=executing) for who in ("responder", "alex"))
    run = launch(responder, "gated")["run"]
    digest = alex.get(f"/runs/{run}/gate")["digest"]
    alex.post(f"/runs/{run}/approve", digest=digest)
    back = responder.get(f"/runs/{run}/undo")
    responder.post(f"/runs/{run}/undo", 409, plan="sha256:" + "1" * 64)
    made = responder.post(f"/runs/{run}/undo", 201, plan=back["digest"])
    assert responder.get(f"/runs/{made['run']}")["status"] == "succeeded"
    assert responder.get(f"/runs/{run}/undo", 409)["status"] == 409


def test_a_run_that_cannot_begin_is_on_record_and_says_so(home: Home) -> None:
    def refuse(home: Home, run: str) -> None:
        raise RunError("nothing executes it now")

    program = Program(home, "responder", start=refuse)
    made = launch(program, word="hello")
    assert made["status"] == "created"
    program.post(f"/runs/{made['run']}/resume", 409)


def test_where_no_engine_is_ready_a_process_of_its_own_executes_a_run(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(starting, "hand_over", lambda *_, **__: Launched("direct", "no engine is up"))
    monkeypatch.setattr(starting._CHILDREN, "start", lambda _, run, why: asked.append(f"{run}: {why}"))
    assert starting.start_run(home, "run-x") == "direct"
    assert asked == ["run-x: no engine is up"]
    monkeypatch.setattr(starting, "hand_over", lambda *_, **__: Launched("prefect"))
    assert starting.start_run(home, "run-x") == "prefect"
    assert len(asked) == 1


def test_a_key_is_long_enough_to_be_random(home: Home) -> None:
    program = Program(home, "responder")
    digest = planned(program, word="hello")
    for key in ("short", "with space in the middle", "x" * 129):
        program.post("/runs", 422, key=key, runbook="plain", inputs={"word": "hello"}, plan=digest)


def test_a_note_is_written_once_for_each_key(home: Home) -> None:
    site = make_site(home)
    one = Program(home, "responder", site=site)
    key = secrets.token_urlsafe(20)
    incident = one.post("/incidents", 201, key=key, title="nobody can pay")["incident"]
    assert one.post("/incidents", 201, key=key, title="nobody can pay")["incident"] == incident
    assert "something else" in one.post("/incidents", 409, key=key, title="another")["detail"]
    assert (
        Program(home, "alex", site=site).post("/incidents", 201, key=key, title="x")["incident"] != incident
    )
    noted = one.post(f"/incidents/{incident}/notes", 201, key=key, text="looked")
    assert one.post(f"/incidents/{incident}/notes", 201, key=key, text="looked") == noted
