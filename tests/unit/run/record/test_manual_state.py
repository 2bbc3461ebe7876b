"""Manual steps, folded: who does it, how long it took, whom to remind, and what cannot follow what."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimrun.errors import TamperError
from mimrun.log.entry import NOTHING, Actor, LogEntry
from mimrun.log.kinds import (
    Body,
    ManualAttested,
    ManualChecked,
    ManualClaimed,
    ManualConfirmed,
    ManualDisputed,
    ManualHandedOver,
    ManualReleased,
    ManualRequested,
)
from mimrun.run.record.manual_state import (
    NEXT_MANUAL,
    ManualState,
    ManualStatus,
    active_time,
    due_reminders,
    take_manual,
)

T0 = datetime(2026, 11, 22, 10, tzinfo=UTC)
DIGEST = "sha256:" + "0" * 64


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


class Story:
    """Entries of one manual step, each some minutes after the first."""

    def __init__(self, **asked: object) -> None:
        self.state, self.seq = ManualState(), 0
        self.at(0, "worker", ManualRequested.model_validate({"role": "desk", "fields": (), **asked}))

    def at(self, minute: float, person: str, body: Body, auth: str = "os-user") -> Story:
        self.seq += 1
        actor = Actor("worker" if person == "worker" else "person", person, "cli", auth)
        take_manual(
            self.state,
            LogEntry(
                log="log",
                seq=self.seq,
                ts=T0 + minutes(minute),
                inc="INC-1",
                iseq=self.seq,
                iprev=NOTHING,
                actor=actor,
                run="run-1",
                step="1",
                target="",
                attempt=0,
                epoch=0,
                body=body,
                blobs=(),
                prev=NOTHING,
            ),
        )
        return self


def done(**more: object) -> ManualAttested:
    return ManualAttested.model_validate({"fields": DIGEST, **more})


def test_time_runs_while_somebody_has_taken_it_up() -> None:
    story = Story().at(5, "alex", ManualClaimed()).at(10, "alex", ManualReleased(reason="called away"))
    story.at(30, "billie", ManualClaimed())
    assert active_time(story.state, T0 + minutes(33)) == minutes(8)
    story.at(37, "billie", done())
    assert active_time(story.state, T0 + minutes(99)) == minutes(12)
    assert (story.state.by, story.state.holder) == ("billie", "")


def test_between_a_hand_over_and_the_other_taking_it_up_no_time_runs() -> None:
    story = (
        Story().at(0, "alex", ManualClaimed()).at(10, "alex", ManualHandedOver(to="billie", reason="shift"))
    )
    assert story.state.holder == "billie"
    assert active_time(story.state, T0 + minutes(60)) == minutes(10)
    story.at(60, "billie", ManualClaimed()).at(65, "billie", done())
    assert active_time(story.state, T0 + minutes(70)) == minutes(15)


def test_whom_it_was_handed_to_begins_with_the_first_item_that_they_tick() -> None:
    story = Story(checklist=("one",)).at(0, "alex", ManualHandedOver(to="billie", reason="shift"))
    story.at(20, "billie", ManualChecked(item=1, done=True)).at(25, "billie", done())
    assert active_time(story.state, T0) == minutes(5)


def test_who_takes_it_from_somebody_works_from_then_on() -> None:
    story = (
        Story()
        .at(0, "alex", ManualClaimed())
        .at(10, "billie", ManualHandedOver(to="billie", reason="asleep"))
    )
    assert active_time(story.state, T0 + minutes(12)) == minutes(12)


def test_what_people_say_of_their_time_counts_before_the_clock() -> None:
    story = Story().at(0, "alex", ManualClaimed()).at(60, "alex", done(active_ms=12 * 60_000))
    assert active_time(story.state, T0) == minutes(12)


def test_after_a_dispute_it_is_done_again_and_the_time_of_before_counts() -> None:
    story = Story(second="anybody").at(0, "alex", ManualClaimed()).at(10, "alex", done())
    assert not story.state.is_done
    story.at(20, "billie", ManualDisputed(attested=3, reason="the link goes nowhere"))
    assert (story.state.status, story.state.attested, story.state.holder) == (ManualStatus.ASKED, 0, "")
    story.at(30, "alex", ManualClaimed()).at(35, "alex", done()).at(36, "billie", ManualConfirmed(attested=6))
    assert story.state.is_done
    assert active_time(story.state, T0) == minutes(15)


def test_ticks_are_taken_back_and_counted() -> None:
    story = Story(checklist=("one", "two")).at(1, "alex", ManualChecked(item=2, done=True))
    assert story.state.unticked == (1,)
    story.at(2, "alex", ManualChecked(item=2, done=False))
    assert story.state.unticked == (1, 2)
    with pytest.raises(TamperError, match="no item 3"):
        story.at(3, "alex", ManualChecked(item=3, done=True))


def test_reminders_go_to_whoever_does_it_then_to_the_second_person() -> None:
    story = Story(second="security", remind_ms=15 * 60_000)

    def due(minute: float) -> list[tuple[str, str, str, int]]:
        found = due_reminders({"1": story.state}, T0 + minutes(minute))
        return [(one.what, one.person, one.role, one.number) for one in found]

    assert due(14.9) == []
    assert due(15) == [("work", "", "desk", 1)]
    assert due(47) == [("work", "", "desk", 3)]
    story.at(50, "alex", ManualClaimed())
    assert due(60) == []
    assert due(66) == [("work", "alex", "desk", 1)]
    story.at(70, "alex", done())
    assert due(84) == []
    assert due(86) == [("second", "", "security", 1)]
    story.at(90, "billie", ManualConfirmed(attested=3))
    assert due(999) == []


def test_without_an_interval_nobody_is_reminded() -> None:
    assert due_reminders({"1": Story().state}, T0 + timedelta(days=9)) == ()


def test_a_word_about_another_attestation_is_refused() -> None:
    story = Story(second="anybody").at(1, "alex", done())
    for body in (ManualConfirmed(attested=1), ManualDisputed(attested=1, reason="no")):
        with pytest.raises(TamperError, match="about the word in entry 1"):
            Story(second="anybody").at(1, "alex", done()).at(2, "billie", body)
    assert story.state.attested == 2


BODIES: list[Body] = [
    ManualRequested(role="desk", fields=()),
    ManualClaimed(),
    ManualReleased(reason=""),
    ManualHandedOver(to="billie", reason="x"),
    ManualChecked(item=1, done=True),
    done(),
    done(outcome="failed", reason="x"),
    ManualConfirmed(attested=2),
    ManualDisputed(attested=2, reason="x"),
]


@given(st.lists(st.tuples(st.sampled_from(BODIES), st.sampled_from(["alex", "billie"])), max_size=8))
def test_whatever_follows_is_in_the_table_and_time_never_goes_back(words: list[tuple[Body, str]]) -> None:
    story = Story(checklist=("one",), second="anybody")
    before = timedelta()
    for minute, (body, person) in enumerate(words, 1):
        was = story.state.status
        try:
            story.at(minute, person, body)
        except TamperError:
            continue
        assert any(key[0] is was and NEXT_MANUAL[key] is story.state.status for key in NEXT_MANUAL)
        now = active_time(story.state, T0 + minutes(minute))
        assert timedelta() <= now <= minutes(minute)
        assert now >= before
        before = now


def test_nothing_follows_a_confirmed_or_failed_step() -> None:
    for last in ((done(), ManualConfirmed(attested=2)), (done(outcome="failed", reason="x"),)):
        for body in BODIES:
            story = Story(second="anybody", checklist=("one",))
            for minute, one in enumerate(last, 1):
                story.at(minute, "alex", one)
            with pytest.raises(TamperError, match="cannot follow"):
                story.at(9, "billie", body)


def test_every_status_is_reached_by_the_table() -> None:
    reached = {ManualStatus.NEW, *NEXT_MANUAL.values()}
    assert reached == set(ManualStatus)
    assert {key[0] for key in NEXT_MANUAL} == set(ManualStatus) - {
        ManualStatus.CONFIRMED,
        ManualStatus.FAILED,
    }
    assert len(list(itertools.product(ManualStatus, BODIES))) > len(NEXT_MANUAL)
