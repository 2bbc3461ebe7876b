"""When an anchor is due, and what the log knows of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from mimrun.log.anchored import LONGEST_PAUSE, Anchored, AnchorRecords, is_due
from mimrun.log.entry import Actor, LogEntry
from mimrun.log.kinds_proof import LogAnchored
from mimrun.log.moment import write_moment

START = datetime(2026, 1, 1, tzinfo=UTC)
EVERY = timedelta(minutes=5)


def told(seq: int, minute: int, *, done: bool, size: int = 10) -> LogEntry:
    body = LogAnchored(anchor="a", size=size, root="0" * 64, done=done, reason="" if done else f"no {seq}")
    at = START + timedelta(minutes=minute)
    zeros = "0" * 64
    return LogEntry(
        log="t",
        seq=seq,
        ts=at,
        inc="",
        iseq=0,
        iprev=zeros,
        actor=Actor("system", "anchors"),
        run="",
        step="",
        target="",
        attempt=0,
        epoch=0,
        body=body,
        blobs=(),
        prev=zeros,
    )


def folded(*entries: LogEntry) -> Anchored:
    records = AnchorRecords()
    state = records.empty()
    for entry in entries:
        assert records.key(entry) == "a"
        state = records.apply(state, entry, {})
    return Anchored.decode(state)


def at(minute: float) -> datetime:
    return START + timedelta(minutes=minute)


def test_the_first_time_is_at_once() -> None:
    assert is_due(Anchored(), START, EVERY, news=False)


def test_after_that_it_waits_and_only_news_is_a_reason() -> None:
    known = folded(told(1, 0, done=True))
    assert not is_due(known, at(4.9), EVERY, news=True)
    assert is_due(known, at(5), EVERY, news=True)
    assert not is_due(known, at(500), EVERY, news=False)


def test_failures_are_tried_again_ever_more_seldom_but_once_an_hour() -> None:
    known = Anchored()
    minute = 0
    for number, pause in enumerate((5, 10, 20, 40, 60, 60), 1):
        known = known.after(entry := told(number, minute, done=False), entry.body)  # type: ignore[arg-type]
        assert not is_due(known, at(minute + pause - 0.1), EVERY, news=True)
        assert is_due(known, at(minute + pause), EVERY, news=False), number
        minute += pause
    assert (known.failures, known.failing_since, known.reason) == (6, write_moment(START), "no 6")
    done = folded(told(7, minute, done=True))
    assert (done.failures, done.failing_since, done.reason) == (0, "", "")


def test_a_failure_forgets_nothing_of_what_was_done_and_a_smaller_size_does_not_count_for_more() -> None:
    known = folded(
        told(1, 0, done=True, size=50), told(2, 5, done=False, size=60), told(3, 6, done=True, size=20)
    )
    assert (known.size, known.seq, known.at) == (50, 1, write_moment(START))
    assert (known.tried_at, known.failures) == (write_moment(at(6)), 0)


@given(st.integers(0, 80), st.timedeltas(timedelta(seconds=1), timedelta(days=2)))
def test_a_failing_anchor_is_always_tried_again(failures: int, every: timedelta) -> None:
    known = Anchored(anchor="a", tried_at=write_moment(START), failures=failures)
    longest = max(every, LONGEST_PAUSE)
    assert is_due(known, START + longest, every, news=True)
