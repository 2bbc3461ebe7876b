"""Failing over and coming back, on a real PostgreSQL pair."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from builders.rehearsal import RESPONDER, Rehearsal, rehearsal

from mimrun.app.demo.report import fence_proof
from mimrun.errors import PlanError
from mimrun.lab import folder, loopback, patience
from mimrun.lab.failover import FailoverLab
from mimrun.lab.postgres_server import Instance

pytestmark = pytest.mark.needs("postgres", "sshd")


@contextmanager
def pair(net: str, *, proxied: bool = False) -> Iterator[tuple[FailoverLab, Rehearsal]]:
    with (
        folder.temporary() as where,
        FailoverLab(where, net=net, proxied=proxied) as lab,
        rehearsal(where, lab.inventory_path) as stage,
    ):
        yield lab, stage


def inputs(lab: FailoverLab, *more: str) -> list[str]:
    return ["cluster=demo", f"balanced={'true' if lab.proxy else 'false'}", *more]


def writes_again(lab: FailoverLab) -> bool:
    died = lab.died or 0.0
    return patience.came_true(lambda: lab.writer.notes().outage(died) is not None, seconds=15)


def no_split_brain(stage: Rehearsal, lab: FailoverLab) -> None:
    proof = fence_proof(stage.plan("postgres-failover", *inputs(lab)), stage.entries())
    assert proof.promoting, "nothing was promoted"
    assert proof.holds, str(proof)


@pytest.mark.needs("haproxy")
def test_failover_behind_haproxy_and_the_old_primary_comes_back() -> None:
    with pair("127.0.81", proxied=True) as (lab, stage):
        one, two = lab.pair.primary, lab.pair.standby
        assert lab.proxy is not None
        lab.kill_primary()
        state = stage.start("postgres-failover", *inputs(lab))
        assert (state.status, state.waits_on) == ("waiting", "gate")
        assert two.in_recovery(), "nothing may be promoted before people agree"
        assert stage.approve().waits_on == "manual"
        assert writes_again(lab)
        assert lab.proxy.enabled() == [two.name]
        assert not loopback.accepts(one.host, one.port)
        no_split_brain(stage, lab)
        assert stage.sign(link="https://portal.example.org/1").status == "succeeded"
        assert stage.state.recap()["failed"] == 0

        # Fenced: nobody starts it as a primary by accident.
        with pytest.raises(Exception, match="fenced"):
            one.control("pg-start")
        rejoin = ["cluster=demo", f"returning={one.name}", f"primary_now={two.name}"]
        stage.start("postgres-rejoin", *rejoin)
        assert stage.approve().waits_on == "manual"
        assert one.in_recovery()
        assert two.sql("select count(*) from pg_stat_replication where state = 'streaming'") == "1"
        assert stage.sign(RESPONDER, change="a1b2c3").status == "succeeded"
        rows = two.sql("select count(*) from writes")
        assert patience.came_true(
            lambda: int(one.sql("select count(*) from writes")) >= int(rows), seconds=10
        )

        # Again: everything is as it should be already, so nothing is changed.
        stage.start("postgres-rejoin", *rejoin)
        stage.approve()
        assert one.in_recovery()
        assert stage.sign(RESPONDER, change="a1b2c3").status == "succeeded"


@pytest.mark.needs("haproxy")
def test_a_failover_that_ends_before_the_promotion_can_be_undone() -> None:
    with pair("127.0.86", proxied=True) as (lab, stage):
        one, two = lab.pair.primary, lab.pair.standby
        assert lab.proxy is not None
        stage.start("postgres-failover", *inputs(lab))
        lab.pair.kill(two)
        assert stage.approve().status == "failed"
        assert "Promote the standby" in stage.state.reason
        assert not one.is_running()
        assert stage.undo().status == "succeeded"
        one.control("pg-start")
        assert writes(one)
        # HAProxy sends clients there again as soon as its own check has seen the server.
        proxy = lab.proxy
        assert patience.came_true(lambda: one.name in proxy.enabled(), seconds=10)


def writes(server: Instance) -> bool:
    return patience.came_true(lambda: server.sql("select pg_is_in_recovery()") == "f", seconds=10)


def test_failover_without_a_load_balancer_and_once_more_changes_nothing() -> None:
    with pair("127.0.82") as (lab, stage):
        lab.kill_primary()
        stage.start("postgres-failover", *inputs(lab))
        stage.approve()
        assert writes_again(lab)
        no_split_brain(stage, lab)
        words = stage.finished()
        assert words["Keep clients away from the old primary"] == "skipped"
        assert words["Cut the power of the old primary"] == "skipped"
        assert stage.sign(link="https://portal.example.org/1").status == "succeeded"

        # The second time the first step says that there is no standby any more.
        assert stage.start("postgres-failover", *inputs(lab)).status == "failed"
        assert "The standby is fit to take over" in stage.state.reason


def test_a_primary_that_still_lives_is_fenced_and_never_two_take_writes() -> None:
    with pair("127.0.83") as (lab, stage):
        one, two = lab.pair.primary, lab.pair.standby
        stage.start("postgres-failover", *inputs(lab))
        # The look at the old primary fails, is on record, and does not stop the run.
        assert stage.state.cells[next(k for k in stage.state.cells if k.step == "3")].status == "failed"
        assert stage.state.waits_on == "gate"
        assert one.is_running()
        stage.approve()
        assert not one.is_running()
        assert not two.in_recovery()
        no_split_brain(stage, lab)


def test_when_the_host_to_fence_cannot_be_reached_nobody_is_asked_and_nothing_is_promoted() -> None:
    with pair("127.0.84") as (lab, stage):
        lab.kill_primary()
        lab.hosts.kill(lab.pair.primary.name)
        state = stage.start("postgres-failover", *inputs(lab))
        assert state.status == "failed"
        assert "The old primary's host can be reached" in state.reason
        assert state.gates == {}
        assert lab.pair.standby.in_recovery()

        # A person cuts the power, signs for it, and only then is the standby promoted.
        state = stage.start("postgres-failover", *inputs(lab, "fenced_by_hand=true"))
        assert state.waits_on == "gate"
        assert stage.approve().waits_on == "manual"
        assert lab.pair.standby.in_recovery()
        assert stage.sign(RESPONDER, proof="the console says: off").waits_on == "manual"
        assert not lab.pair.standby.in_recovery()
        assert writes_again(lab)


def test_a_host_that_dies_after_the_agreement_stops_the_run_before_the_promotion() -> None:
    with pair("127.0.85") as (lab, stage):
        lab.kill_primary()
        stage.start("postgres-failover", *inputs(lab))
        lab.hosts.kill(lab.pair.primary.name)
        assert stage.approve().status == "failed"
        assert "Fence the old primary" in stage.state.reason
        assert lab.pair.standby.in_recovery()


def test_a_fence_that_does_not_hold_stops_the_run_before_the_promotion() -> None:
    with pair("127.0.86") as (lab, stage):
        one = lab.pair.primary
        text = lab.inventory_path.read_text()
        # A fence command that says yes and does nothing, while the primary goes on.
        lab.inventory_path.write_text(text.replace(f'["{one.script("pg-fence")}"]', '["true"]'))
        stage.start("postgres-failover", *inputs(lab))
        assert stage.approve().status == "failed"
        assert one.is_running()
        assert lab.pair.standby.in_recovery()


def test_a_standby_that_lags_or_is_paused_is_refused() -> None:
    with pair("127.0.87") as (lab, stage):
        lab.pair.standby.sql("select pg_wal_replay_pause()")
        state = stage.start("postgres-failover", *inputs(lab))
        assert state.status == "failed"
        assert "The standby is fit to take over" in state.reason


def test_wrong_words_are_refused_before_anything_runs(tmp_path: Path) -> None:
    inventory = tmp_path / "inventory.ini"
    inventory.write_text("[primary]\ndb1\n[standby]\ndb2\n[cluster_shop:children]\nprimary\nstandby\n")
    with rehearsal(tmp_path, inventory) as stage:
        with pytest.raises(PlanError, match="postgres_fence"):
            stage.plan("postgres-failover", "cluster=shop", "balanced=false")
        with pytest.raises(PlanError, match="loadbalancer"):
            stage.plan("postgres-failover", "cluster=shop")
        with pytest.raises(PlanError, match="cluster_shoe"):
            stage.plan("postgres-failover", "cluster=shoe")
        with pytest.raises(PlanError, match="cluster"):
            stage.plan("postgres-failover", "cluster=Shop;rm")
