"""The program log: stable names, plain facts, no secret, and never in a run's way."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import stat
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from builders import paper_changes as paper
from builders.commands import until
from builders.console import Browser
from builders.drawer import CATALOG, Drawer, put
from builders.inbox import chatting
from builders.plans import a_plan, action, gate
from builders.rules import an_alert, send
from builders.runs import RESPONDER, Bench

from mimrun.app.alert.sources import SourcesInForce
from mimrun.app.anchor.timer import anchor_now
from mimrun.app.change.linking import find_record, link_change
from mimrun.app.change.timer import write_now
from mimrun.app.execution import execute_run, note_mode
from mimrun.app.home import lay_home
from mimrun.app.launching import Launcher
from mimrun.app.program_log import LOG_BYTES, VALUE_CHARACTERS, Event, about, mask_with, program_log
from mimrun.app.rule.timer import RuleThread
from mimrun.app.server.keeping import EngineKeeper
from mimrun.app.watching import Watching, read_watches
from mimrun.app.worker import Worker
from mimrun.errors import StoreError, Unreachable
from mimrun.incident.watch import Sample
from mimrun.run.executor import Executor
from mimrun.run.hold.lease import FileLease
from mimrun.run.walk.fanout import Fanout
from mimrun.runbook.node import StepOptions
from mimrun.secret import MASK, Masker, Secret
from mimrun.settings import Settings

PASSWORD = "correct-horse-battery"


def lines(settings: Settings) -> list[dict[str, object]]:
    """Read the program log: every line is a JSON object."""
    whole, _, _ = settings.program_log.read_text("utf-8").rpartition("\n")  # another process may be writing
    return [json.loads(line) for line in whole.splitlines()]


def events(settings: Settings) -> list[object]:
    return [line["event"] for line in lines(settings)]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


def test_a_run_is_taken_and_left_with_where_it_stands(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, action("1"), gate("2"), action("3")))
    taken, left = lines(bench.settings)
    assert (taken["event"], taken["run"], taken["mode"], taken["resumed"]) == (
        "run_taken",
        run,
        "direct",
        False,
    )
    assert str(taken["incident"]).startswith("INC-")
    assert (left["event"], left["status"], left["level"]) == ("run_left", "waiting", "info")
    assert str(taken["timestamp"]).endswith("Z")


def test_a_failed_step_is_told_with_its_path(bench: Bench) -> None:
    bench.run(a_plan(bench.world, action("1"), action("2", word="x", answer="failed")))
    failed = lines(bench.settings)[1]
    assert (failed["event"], failed["step"], failed["level"]) == ("step_failed", "2", "warning")
    assert events(bench.settings) == ["run_taken", "step_failed", "run_left"]
    assert "step" not in lines(bench.settings)[-1]


def test_a_refused_worker_says_who_holds_the_run(bench: Bench) -> None:
    run = bench.create(a_plan(bench.world, action("1")))
    with FileLease(bench.settings.locks, run):
        assert bench.execute(run).status == "refused"
    (refused,) = lines(bench.settings)
    assert refused["event"] == "run_refused"
    assert "is being executed by process" in str(refused["reason"])


def test_a_run_that_breaks_is_told_without_the_secret_in_the_error(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANDBY_PASSWORD", PASSWORD)
    plan = a_plan(bench.world, action("1"), inputs={"password": {"secret": "env:STANDBY_PASSWORD"}})
    run = bench.create(plan)

    def breaks(*_: object) -> None:
        raise StoreError(f"cannot write {PASSWORD}")

    monkeypatch.setattr(Executor, "execute", breaks)
    with pytest.raises(StoreError):
        bench.execute(run)
    broke = lines(bench.settings)[-1]
    assert (broke["event"], broke["level"], broke["error"]) == ("run_broke", "error", "StoreError")
    assert broke["reason"] == f"cannot write {MASK}"
    assert "exception" not in broke
    assert PASSWORD not in bench.settings.program_log.read_text()


def test_what_breaks_in_a_step_is_told_with_the_step_and_the_incident(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object, **__: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(Fanout, "perform", breaks)
    with pytest.raises(StoreError):
        bench.run(a_plan(bench.world, action("1")))
    broke = lines(bench.settings)[-1]
    assert (broke["event"], broke["step"]) == ("run_broke", "1")
    assert str(broke["incident"]).startswith("INC-")


def test_spans_that_nobody_took_are_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "nowhere in particular")
    run, _ = bench.run(a_plan(bench.world, action("1")))
    told = lines(bench.settings)[-1]
    assert (told["event"], told["level"], told["run"]) == ("spans_not_sent", "warning", run)


def test_whatever_is_told_of_a_run_names_its_incident(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, action("1", answer="failed", word="x")))
    bench.execute(run)
    note_mode(bench.settings, run, "direct", "prefect's api is lost")
    told = lines(bench.settings)
    assert {line["event"] for line in told} > {"run_refused", "step_failed", "run_mode_changed"}
    assert len({line["incident"] for line in told}) == 1
    assert {line["run"] for line in told} == {run}


def test_a_bug_is_told_with_its_traceback(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(Executor, "execute", breaks)
    with pytest.raises(ZeroDivisionError):
        bench.run(a_plan(bench.world, action("1")))
    assert "in breaks" in str(lines(bench.settings)[-1]["exception"])


def test_going_on_directly_is_told(bench: Bench) -> None:
    run, _ = bench.run(a_plan(bench.world, action("1"), gate("2")))
    note_mode(bench.settings, run, "direct", "prefect's api is lost")
    changed = lines(bench.settings)[-1]
    assert (changed["event"], changed["run"], changed["mode"]) == ("run_mode_changed", run, "direct")


def test_a_worker_tells_what_it_takes_what_it_asks_for_and_what_it_cannot(tmp_path: Path) -> None:
    bench = Bench(tmp_path, CATALOG)
    for slot in "ab":
        Drawer(tmp_path / "drawer").put(slot, "old")
    for_a_moment = StepOptions(revert_after_ms=1)
    pivot = action("2", options=StepOptions(irreversible=True))
    stuck, _ = bench.run(a_plan(bench.world, put("1", "a", "new", options=for_a_moment), pivot))
    forward, _ = bench.run(a_plan(bench.world, put("1", "b", "new", options=for_a_moment)))
    worker = Worker(bench.settings, catalog=CATALOG)
    thread = threading.Thread(target=worker.stay)
    thread.start()
    until(lambda: Drawer(tmp_path / "drawer").read()["b"] == "old")
    worker.stop()
    thread.join()
    told = {
        str(line["event"]): line for line in lines(bench.settings) if str(line["event"])[:3] in ("wor", "rev")
    }
    asked = {"revert_refused", "revert_started", "worker_took"}
    assert set(told) == {"worker_started", "worker_stopped"} | asked
    assert (told["revert_refused"]["run"], told["revert_refused"]["level"]) == (stuck, "warning")
    assert "step 2 'Step 2' has happened" in str(told["revert_refused"]["reason"])
    assert told["revert_started"]["reason"] == f"it takes back {forward}"
    assert told["worker_took"]["run"] == told["revert_started"]["run"]
    assert told["worker_took"]["reason"] == "its time has come"
    assert all(str(told[event]["incident"]).startswith("INC-") for event in asked)


def test_places_outside_that_took_the_log_and_that_did_not_are_told(tmp_path: Path) -> None:
    home = tmp_path / "home"
    settings = Settings(home=home, seen=tmp_path / "seen")
    lay_home(settings)
    places = f"{{name: disk, file: {tmp_path}/kept}}", f"{{name: gone, file: {tmp_path}/no/such/folder}}"
    settings.anchors.write_text("anchors:\n" + "".join(f"  - {place}\n" for place in places))
    anchor_now(settings)
    told = {line["event"]: line for line in lines(settings)}
    assert told["anchored"]["anchor"] == "disk"
    assert told["anchor_failed"]["anchor"] == "gone"
    assert "no/such/folder" in str(told["anchor_failed"]["reason"])


def test_what_stands_in_a_change_record_and_what_was_not_taken_is_told(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paper.install(monkeypatch)
    usual = {"type": "normal", "title": "t", "state": "draft", "approval": "requested", "votes": []}
    paper.write(tmp_path, "P1", key="", run="", digest="", targets=[], window=None, additions=[], **usual)
    desk = f"{{adapter: paper, url: 'paper:', folder: '{tmp_path}'}}"
    bench.settings.changes.write_text(f"new_records: desk\nsystems: {{desk: {desk}}}\n")
    run, _ = bench.run(a_plan(bench.world, action("1")))
    with bench.home() as home:
        link_change(home, run, find_record(home, "P1"), RESPONDER)
        (tmp_path / "weather").write_text("fine refused")
        write_now(home)
    told = {line["event"]: line for line in lines(bench.settings)}
    assert (told["change_written"]["run"], told["change_written"]["change"]) == (run, "desk:P1")
    assert told["change_not_written"]["reason"] == "this hand may not write here"


def test_people_who_were_told_and_who_could_not_be_are_told(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.settings.notices.write_text(
        "channels: {chat: {url: env:CHAT}}\nnotices: [{tell: approvers, over: [chat], of: [gate_reached]}]\n"
    )
    with chatting() as chat:
        monkeypatch.setenv("CHAT", chat.address)
        bench.run(a_plan(bench.world, gate("1")))
        chat.status = 500
        bench.run(a_plan(bench.world, gate("1")))
    told = {str(line["event"]): line for line in lines(bench.settings)}
    assert (told["noticed"]["channel"], told["noticed"]["audience"]) == ("chat", "approvers")
    assert (told["notice_failed"]["level"], told["notice_failed"]["notice"]) == ("warning", "gate_reached")
    assert "500" in str(told["notice_failed"]["reason"])


def test_an_alerts_yaml_that_cannot_be_used_is_told_loudly(bench: Bench) -> None:
    bench.settings.alerts.write_text("sources: {monitor: {kind: alertmanger}}\n")
    assert SourcesInForce(bench.settings).now().faults
    told = {str(line["event"]): line for line in lines(bench.settings)}
    assert told["alerts_unreadable"]["level"] == "error"
    assert "did you mean 'alertmanager'" in str(told["alerts_unreadable"]["reason"])


def test_what_rules_do_refuse_and_cannot_do_is_told(bench: Bench) -> None:
    settings = bench.settings
    settings.rules.mkdir()
    (settings.rules / "a.yaml").write_text("rules: [{name: a, title: A, action: notify}]\n")
    (settings.rules / "b.yaml").write_text("rules: [{name: b, title: B, action: notfy}]\n")
    (settings.rules / "limits.yaml").write_text("limits: {asks_per_hour: 1}\n")
    with bench.home() as home:
        send(home, an_alert())
    thread = RuleThread(settings)
    thread.start()
    until(lambda: settings.program_log.exists() and "rules_refused" in events(settings))
    (settings.rules / "b.yaml").write_text("rules: [{name: b, title: B, action: notify}]\n")
    until(lambda: "storm_began" in events(settings))
    settings.log.rename(settings.home / "gone.db")
    thread.stop()
    thread.wait(10)
    away = RuleThread(settings)
    away.start()
    until(lambda: "rules_broke" in events(settings))
    away.stop()
    away.wait(10)
    told = {str(line["event"]): line for line in lines(settings)}
    assert (told["rule_fired"]["level"], told["rule_fired"]["outcome"]) == ("info", "notified")
    assert (told["rules_refused"]["level"], told["rules_broke"]["level"]) == ("error", "error")
    assert "notfy" in str(told["rules_refused"]["reason"])
    assert told["storm_began"]["incident"]


def test_a_watch_that_gets_no_answer_is_told_once(bench: Bench) -> None:
    settings = bench.settings
    settings.alerts.write_text("sources: {watch: {kind: alertmanager, token: env:X}}\n")
    one = "{name: a, address: 'http://h', query: up, title: A, every: 1s}"
    settings.watches.write_text(f"source: watch\nwatches: [{one}]\n")

    def nobody(*_: object, **__: object) -> list[Sample]:
        raise Unreachable("nobody is there")

    with bench.home() as home:
        watching = Watching(home, read_watches(settings), nobody)
        for watch in read_watches(settings).watches * 3:
            watching.once(watch)
        watching.stop()
        watching.stay()
    assert [line["event"] for line in lines(settings)] == ["watch_failed", "watch_started", "watch_stopped"]
    assert lines(settings)[0]["reason"] == "nobody is there"


SERVER_TESTS = Path(__file__).parents[2] / "acceptance" / "test_cli_serve.py"
"""What a server tells is tested with real ones."""


def test_every_event_has_a_test() -> None:
    source = Path(__file__).read_text("utf-8") + SERVER_TESTS.read_text("utf-8")
    assert {event for event in Event if f'"{event}"' not in source} == set()


def test_a_request_that_breaks_is_told_with_what_was_asked_and_nothing_that_was_sent(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("somewhere inside")

    monkeypatch.setattr("mimrun.web.pages.incidents.declare", broken)
    with bench.home() as home:
        alex = Browser(home, "alex")
        with pytest.raises(ZeroDivisionError):
            alex.send("/incidents?from=" + PASSWORD, title=PASSWORD)
    (told,) = lines(bench.settings)
    assert (told["event"], told["level"]) == ("server_broke", "error")
    assert (told["error"], told["request"]) == ("ZeroDivisionError", "POST /incidents")
    assert "somewhere inside" in str(told["exception"])
    assert PASSWORD not in json.dumps(told)


class NoEngine:
    """A launcher whose engine cannot be had."""

    name = "none"

    def status(self) -> Any:
        return SimpleNamespace(running=False, ready=False)

    def wake(self, stays_s: float) -> None:
        raise StoreError(f"no room for it, for {stays_s:g} s")

    def leave(self) -> None:
        raise OSError("its socket is gone")


def test_a_bug_is_told_without_the_secrets_that_are_known_here(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANDBY_PASSWORD", PASSWORD)
    (tmp_path / "hosts").write_text("standby password=env:STANDBY_PASSWORD\n")
    bench.settings = replace(bench.settings, inventory=tmp_path / "hosts")

    def broken(*_: object) -> None:
        raise ZeroDivisionError(f"cannot divide {PASSWORD}")

    monkeypatch.setattr("mimrun.web.pages.incidents.declare", broken)
    with bench.home() as home, pytest.raises(ZeroDivisionError):
        Browser(home, "alex").send("/incidents", title="slow")
    (told,) = lines(bench.settings)
    assert f"cannot divide {MASK}" in str(told["exception"])
    assert PASSWORD not in bench.settings.program_log.read_text()


def test_an_engine_that_cannot_be_kept_up_is_told_with_why(settings: Settings) -> None:
    keeper = EngineKeeper(settings, cast("Launcher", NoEngine()))
    keeper.look()
    assert keeper.state == "down"
    keeper.leave()
    reasons = [str(line["reason"]) for line in lines(settings)]
    assert reasons == ["no room for it, for 60 s", "its socket is gone"]
    assert {(line["event"], line["level"]) for line in lines(settings)} == {
        ("server_engine_failed", "warning")
    }


def test_only_what_is_loud_enough_is_written(tmp_path: Path) -> None:
    loud = Settings(home=tmp_path, log_level="warning")
    program_log(loud).info(Event.RUN_TAKEN)
    program_log(loud).warning(Event.STEP_FAILED)
    assert events(loud) == ["step_failed"]


def test_a_secret_is_refused_and_no_object_is_shown(settings: Settings) -> None:
    for value in (Secret(PASSWORD), {"password": PASSWORD}, Path("/x"), 0.5):
        with pytest.raises(TypeError, match="'found'"):
            program_log(settings).info(Event.RUN_TAKEN, found=value)
    assert not settings.program_log.exists()


def test_secrets_are_masked_before_anything_is_cut(settings: Settings) -> None:
    text = "x" * (VALUE_CHARACTERS - len(PASSWORD) // 2) + PASSWORD
    with about(run="run-1"):
        mask_with(Masker([Secret(PASSWORD)]))
        with about(step="1"):
            program_log(settings).info(Event.RUN_LEFT, reason=text)
    (line,) = lines(settings)
    assert PASSWORD[:6] not in str(line)
    assert len(str(line["reason"])) <= VALUE_CHARACTERS
    assert (line["run"], line["step"]) == ("run-1", "1")


def test_the_secrets_of_one_run_do_not_outlive_it(settings: Settings) -> None:
    with about(run="run-1"):
        mask_with(Masker([Secret("ordinary")]))
    program_log(settings).info(Event.RUN_LEFT, reason="an ordinary word")
    assert lines(settings)[0]["reason"] == "an ordinary word"
    with pytest.raises(LookupError):
        mask_with(Masker())


def test_runs_on_two_threads_are_told_apart(settings: Settings) -> None:
    meet = threading.Barrier(2)

    def tell(name: str) -> None:
        with about(run=name):
            meet.wait(10)
            program_log(settings).info(Event.RUN_TAKEN, reason=name)

    threads = [threading.Thread(target=tell, args=(f"run-{n}",)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [line["run"] for line in lines(settings)] == [line["reason"] for line in lines(settings)]


def test_only_its_owner_reads_it_and_nothing_goes_to_standard_output(
    settings: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    program_log(settings).info(Event.RUN_TAKEN)
    assert stat.S_IMODE(settings.program_log.stat().st_mode) == 0o600
    assert capfd.readouterr() == ("", "")


def test_a_link_in_its_place_is_not_written_through(settings: Settings, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("")
    settings.program_log.symlink_to(elsewhere)
    program_log(settings).info(Event.RUN_TAKEN)
    assert elsewhere.read_text() == ""


def test_a_run_goes_on_where_nothing_can_be_written(bench: Bench) -> None:
    bench.settings.program_log.mkdir()
    _, verdict = bench.run(a_plan(bench.world, action("1")))
    assert verdict.status == "succeeded"


def test_a_process_that_froze_while_it_wrote_stops_nobody(settings: Settings) -> None:
    program_log(settings).info(Event.RUN_TAKEN)
    with settings.program_log.open() as frozen:
        fcntl.flock(frozen, fcntl.LOCK_EX)
        program_log(settings).info(Event.RUN_LEFT)
    program_log(settings).info(Event.RUN_REFUSED)
    assert events(settings) == ["run_taken", "run_refused"]


def test_a_full_log_is_put_aside_and_the_one_before_it_goes(settings: Settings) -> None:
    aside = settings.home / "program.log.1"
    for round_ in range(2):
        settings.program_log.write_text(f"{round_}" * LOG_BYTES)
        program_log(settings).info(Event.RUN_TAKEN)
        assert aside.read_text()[0] == f"{round_}"
        assert events(settings) == ["run_taken"]
    assert sorted(p.name for p in settings.home.iterdir()) == ["program.log", "program.log.1"]


def _write_many(home: Path, count: int) -> None:
    log = program_log(Settings(home=home))
    for number in range(count):
        log.info(Event.RUN_TAKEN, number=number, reason="x" * VALUE_CHARACTERS)


def test_processes_that_write_at_once_lose_no_line_while_it_is_put_aside(settings: Settings) -> None:
    each = 70  # 4 processes of so many lines of 4 kB: one change of files
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(settings.home, each)) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    kept = lines(settings)
    aside = [json.loads(line) for line in (settings.home / "program.log.1").read_text().splitlines()]
    assert len(kept) + len(aside) == 4 * each
    assert len({(line["pid"], line["number"]) for line in kept + aside}) == 4 * each


def test_a_run_of_no_home_leaves_no_program_log(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="mimrun init"):
        execute_run(Settings(home=tmp_path / "nowhere"), "run-1")
    assert not (tmp_path / "nowhere").exists()
