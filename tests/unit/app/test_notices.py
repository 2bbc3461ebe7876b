"""People are told what waits for them and what was decided: once, over real channels, and on the record."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from builders.inbox import PASSWORD, Chat, chatting, mailing
from builders.plans import a_plan, action, gate, manual
from builders.runs import BILLIE, Bench

from mimrun.app.doctor import examine
from mimrun.app.notice.telling import Sent, Watcher, send_due
from mimrun.app.notice.timer import tell
from mimrun.app.runs import find_run
from mimrun.app.worker import Worker
from mimrun.log.kinds import Kind
from mimrun.log.moment import utc_now
from mimrun.run.record.notices import Notices, Told

RULES = """\
link: https://mimrun.example.org
channels:
  chat: {url: env:CHAT_URL}
notices:
  - {tell: approvers, over: [chat], of: [gate_reached, gate_escalated], remind: 10m}
  - {tell: responders, over: [chat], of: [gate_decided, in_doubt, manual_asked, run_ended, killswitch]}
"""


@pytest.fixture
def chat(monkeypatch: pytest.MonkeyPatch) -> Iterator[Chat]:
    with chatting() as chat:
        monkeypatch.setenv("CHAT_URL", chat.address)
        yield chat


def told(bench: Bench) -> list[Told]:
    with bench.home() as home:
        return [Told.decode(state) for _, state in home.store.projections(Notices.name)]


def later(bench: Bench, watcher: Watcher | None = None, **since: float) -> list[Sent]:
    with bench.home() as home:
        moved = replace(home, clock=lambda: utc_now() + timedelta(**since))
        return send_due(moved, watcher)


def test_nobody_is_told_anything_without_a_file(bench: Bench, chat: Chat) -> None:
    bench.run(a_plan(bench.world, gate("1"), action("2")))
    assert chat.messages == []
    assert told(bench) == []


def test_approvers_are_told_of_a_gate_once_and_by_whoever_was_there(bench: Bench, chat: Chat) -> None:
    bench.settings.notices.write_text(RULES)
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    (message,) = chat.messages
    assert message["title"] == f"{run} waits for your approval"
    assert "1 change_manager" in message["message"]
    assert f"https://mimrun.example.org/runs/{run}" in message["message"]
    assert later(bench) == []
    assert len(chat.messages) == 1


def test_a_link_names_a_run_and_nobody(bench: Bench, chat: Chat) -> None:
    bench.settings.notices.write_text(RULES)
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    (link,) = [word for word in chat.messages[0]["message"].split() if word.startswith("https:")]
    assert link == f"https://mimrun.example.org/runs/{run}"


def test_what_still_waits_is_told_again_and_what_was_decided_is_not(bench: Bench, chat: Chat) -> None:
    bench.settings.notices.write_text(RULES)
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    assert later(bench, minutes=9) == []
    (again,) = later(bench, minutes=11)
    assert again.message.event == "gate_reminder"
    assert chat.messages[-1]["title"] == f"{run} still waits for your approval"
    bench.approve(run)
    bench.execute(run)
    assert [sent for sent in later(bench, minutes=60) if "reminder" in sent.message.event] == []


def test_a_decision_and_an_end_are_told(bench: Bench, chat: Chat) -> None:
    bench.settings.notices.write_text(RULES)
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    bench.approve(run, BILLIE)
    bench.execute(run)
    titles = [message["title"] for message in chat.messages]
    assert titles == [f"{run} waits for your approval", f"{run}: billie approved", f"{run} succeeded"]


def test_a_manual_step_and_a_doubt_are_told(bench: Bench, chat: Chat) -> None:
    bench.settings.notices.write_text(RULES)
    manual_run, _ = bench.run(a_plan(bench.world, manual("1")))
    lost, _ = bench.run(a_plan(bench.world, action("1", answer="lost", word="x")))
    titles = [message["title"] for message in chat.messages]
    assert titles == [f"{manual_run}: something is to be done by hand", f"{lost}: a step is in doubt"]


def test_what_happened_before_the_first_notice_is_not_told_but_what_waits_is(
    bench: Bench, chat: Chat
) -> None:
    bench.run(a_plan(bench.world, action("1")))
    waiting, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    bench.settings.notices.write_text(RULES)
    (sent,) = later(bench)
    assert (sent.message.notice.run, sent.message.event) == (waiting, "gate_reached")


def test_what_was_decided_while_no_process_was_there_is_told_by_the_next(bench: Bench, chat: Chat) -> None:
    bench.settings.notices.write_text(RULES)
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    bench.approve(run)
    (sent,) = later(bench)
    assert sent.message.event == "gate_decided"


def test_a_channel_that_fails_is_tried_again_and_not_for_ever(bench: Bench, chat: Chat) -> None:
    bench.settings.notices.write_text(RULES)
    chat.status = 503
    bench.run(a_plan(bench.world, gate("1"), action("2")))
    assert later(bench, seconds=1) == []
    for minutes in (1, 20, 40, 60, 80, 100, 120, 140):
        later(bench, minutes=minutes)
    (state,) = told(bench)
    assert (state.failures, chat.tries) == (6, 6)
    assert "503" in state.reason


def test_a_failure_says_why_without_the_channels_password(bench: Bench, chat: Chat) -> None:
    bench.settings.notices.write_text(RULES)
    chat.status = 500
    bench.run(a_plan(bench.world, gate("1"), action("2")))
    (state,) = told(bench)
    assert state.reason
    assert PASSWORD not in state.reason
    for path in bench.settings.home.rglob("*"):
        if path.is_file():
            assert PASSWORD.encode() not in path.read_bytes()


def test_a_try_of_which_nothing_is_known_is_left_alone_and_then_made_again(
    bench: Bench, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.settings.notices.write_text(RULES)
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    bench.approve(run)

    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("mimrun.app.notice.telling.send", dies)
        with pytest.raises(KeyboardInterrupt):
            later(bench)
    assert later(bench, seconds=30) == []
    (sent,) = later(bench, seconds=90)
    assert (sent.message.event, sent.done) == ("gate_decided", True)


def test_of_many_processes_one_tells(bench: Bench, chat: Chat) -> None:
    waiting, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    bench.settings.notices.write_text(RULES)
    go = threading.Barrier(8)

    def one() -> None:
        with bench.home() as home:
            go.wait()
            tell(home)

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [message["title"] for message in chat.messages] == [f"{waiting} waits for your approval"]


def test_a_worker_tells(bench: Bench, chat: Chat) -> None:
    bench.run(a_plan(bench.world, gate("1"), action("2")))
    bench.settings.notices.write_text(RULES)
    Worker(bench.settings, catalog=bench.catalog).once()
    assert len(chat.messages) == 1


def test_a_mail_goes_to_each_person_with_the_role_that_is_asked_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.settings.people.write_text(
        "people:\n"
        "  responder: {roles: [responder], email: r@example.org}\n"
        "  alex: {roles: [change_manager], email: alex@example.org}\n"
        "  billie: {roles: [change_manager]}\n"
    )
    bench.settings.notices.write_text(
        "channels: {mail: {url: env:MAIL_URL, each: true}}\n"
        "notices: [{tell: approvers, over: [mail], of: [gate_reached]}]\n"
    )
    with mailing() as box:
        monkeypatch.setenv(
            "MAIL_URL", f"mailto://127.0.0.1:{box.port}?from=mimrun@example.org&to={{email}}&mode=insecure"
        )
        run, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    ((to, subject, text),) = box.mails
    assert to == "alex@example.org"
    assert run in subject
    assert f"mimrun approve {run}" in text
    with bench.home() as home:
        (entry,) = home.store.entries(kinds={Kind.NOTICE_SENDING})
        assert entry.body.people == ("alex",)  # type: ignore[attr-defined]


def test_managers_are_told_in_plain_words(bench: Bench, chat: Chat) -> None:
    bench.settings.notices.write_text(
        "channels: {chat: {url: env:CHAT_URL}}\nnotices: [{tell: managers, over: [chat], of: [gate_reached]}]\n"
    )
    bench.run(a_plan(bench.world, gate("1"), action("2")))
    (message,) = chat.messages
    assert "waits for an approval by 1 change_manager" in message["message"]
    assert "mimrun" not in message["message"].replace("mimrun: ", "")
    assert "sha256" not in message["message"]


def test_own_words_are_used_and_facts_are_never_rendered_again(bench: Bench, chat: Chat) -> None:
    bench.settings.notices.write_text(
        RULES + "texts:\n  responders:\n    manual_asked: {title: 'do {{ run }}', text: 'now: {{ need }}'}\n"
    )
    run, _ = bench.run(a_plan(bench.world, manual("1", role="service_desk")))
    (message,) = chat.messages
    assert (message["title"], message["message"]) == (f"do {run}", "now: service_desk")
    bench.approve(
        bench.run(a_plan(bench.world, gate("1"), action("2", answer="failed", word="{{ 7919 * 7907 }}")))[0]
    )
    assert not [one for one in chat.messages if "62615533" in one["message"]]


def test_a_file_that_is_wrong_stops_no_run_and_is_told_to_the_program_log(bench: Bench, chat: Chat) -> None:
    bench.settings.notices.write_text("notices: [{tell: nobody}]\n")
    _, verdict = bench.run(a_plan(bench.world, action("1")))
    assert verdict.status == "succeeded"
    assert "notice_failed" in bench.settings.program_log.read_text()


def test_a_notice_changes_nothing_for_whoever_is_about_to_decide(bench: Bench, chat: Chat) -> None:
    run, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    with bench.home() as home:
        before = find_run(home, run).summary
    bench.settings.notices.write_text(RULES)
    assert later(bench)
    with bench.home() as home:
        assert find_run(home, run).summary == before
    assert bench.is_intact()


def test_the_doctor_says_what_did_not_reach_anybody_and_who_is_never_reminded(
    bench: Bench, chat: Chat
) -> None:
    bench.settings.notices.write_text(RULES)
    found = {check.name: check for check in examine(bench.settings)}
    assert found["notices"].ok is None
    assert "reminded of nothing" in found["notices"].found
    chat.status = 503
    bench.run(a_plan(bench.world, gate("1"), action("2")))
    found = {check.name: check for check in examine(bench.settings)}
    assert found["notices"].ok is False
    assert "chat" in found["notices"].found


def test_a_runbook_says_how_often_people_are_reminded_of_work_by_hand(bench: Bench, chat: Chat) -> None:
    bench.settings.notices.write_text(RULES)
    step = manual("1").model_copy(update={"remind_ms": 300_000})
    run, _ = bench.run(a_plan(bench.world, step))
    assert later(bench, minutes=4) == []
    (again,) = later(bench, minutes=6)
    assert (again.message.event, again.message.notice.run) == ("manual_reminder", run)
