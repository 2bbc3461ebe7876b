"""The figures: by tables of what must come out, and by what holds whatever happened."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimrun.incident.course import Automated, ByHand, Course, Decision, Message, RunPart
from mimrun.incident.incident import Clock, Clocks
from mimrun.incident.metrics import Figure, clipped, figures_of, merged, total_ms
from mimrun.log.moment import write_moment

BEGAN = datetime(2026, 11, 22, 3, tzinfo=UTC)
NOW = BEGAN + timedelta(hours=5)


def at(minutes: float) -> datetime:
    return BEGAN + timedelta(minutes=minutes)


def clock(minutes: float, source: str = "event") -> Clock:
    return Clock.model_validate({"at": write_moment(at(minutes)), "source": source})


WHOLE = Clocks(
    started=clock(0, "estimate"),
    detected=clock(4),
    acknowledged=clock(6),
    automated=clock(4.5),
    declared=clock(10),
    contained=clock(34),
    restored=clock(44, "seen"),
    resolved=clock(64),
)


def figures(clocks: Clocks = WHOLE, course: Course | None = None) -> dict[str, Figure]:
    return {figure.name: figure for figure in figures_of(clocks, course or Course(), NOW)}


@pytest.mark.parametrize(
    ("name", "minutes"),
    [
        ("mttd", 4),
        ("mtta", 2),
        ("mtta_automated", 0.5),
        ("time_to_declare", 6),
        ("mttc", 30),
        ("mttc_declared", 24),
        ("mttr_restore", 40),
        ("mttr_resolve", 60),
        ("downtime", 44),
    ],
)
def test_each_time_is_the_difference_of_its_two_moments(name: str, minutes: float) -> None:
    assert figures()[name].value == minutes * 60_000


def test_people_and_messages_count_from_the_declaration() -> None:
    course = Course(
        assembled=at(13), messages=[Message(at(30), "x", "y", "z"), Message(at(12), "x", "y", "z")]
    )
    found = figures(course=course)
    assert (found["time_to_assemble"].value, found["time_to_first_message"].value) == (180_000, 120_000)


NEEDS = {
    "mttd": ("started", "detected"),
    "mtta": ("detected", "acknowledged"),
    "mtta_automated": ("detected", "automated"),
    "time_to_declare": ("detected", "declared"),
    "mttc": ("detected", "contained"),
    "mttc_declared": ("declared", "contained"),
    "mttr_restore": ("detected", "restored"),
    "mttr_resolve": ("detected", "resolved"),
    "downtime": ("started", "restored"),
}


@pytest.mark.parametrize(("name", "missing"), [(name, one) for name, needs in NEEDS.items() for one in needs])
def test_without_a_moment_there_is_no_figure_and_it_says_which(name: str, missing: str) -> None:
    figure = figures(WHOLE.model_copy(update={missing: Clock()}))[name]
    assert figure.value is None
    assert figure.why.startswith("nobody recorded when ")


@given(st.sets(st.sampled_from(list(Clocks.model_fields))))
def test_a_figure_has_a_value_or_a_reason_and_never_both(missing: set[str]) -> None:
    found = figures(WHOLE.model_copy(update=dict.fromkeys(missing, Clock())))
    for name, figure in found.items():
        assert (figure.value is None) == bool(figure.why), name
        if name in NEEDS:
            assert (figure.value is None) == (not missing.isdisjoint(NEEDS[name])), name


def test_moments_in_the_wrong_order_give_no_figure() -> None:
    figure = figures(WHOLE.model_copy(update={"acknowledged": clock(3)}))["mtta"]
    assert (figure.value, figure.why) == (None, "a person took it up before it was noticed, by 1m")


def test_what_rests_on_a_guess_says_so() -> None:
    found = figures()
    assert found["mttd"].notes == found["downtime"].notes == ("when it began is an estimate",)
    assert found["mttc"].notes == found["mttr_restore"].notes == ()


def gate(begin: float, end: float | None) -> Decision:
    return Decision("gate", "People agree", at(begin), "x", decided=None if end is None else at(end))


@pytest.mark.parametrize(
    ("gates", "minutes", "share"),
    [
        ([], 0, 0),
        ([(10, 15)], 5, 5),
        ([(10, 15), (20, 22)], 7, 7),
        ([(10, 15), (12, 20)], 10, 10),
        ([(10, 20), (12, 14)], 10, 10),
        ([(10, 15), (15, 20)], 10, 10),
        ([(0, 10)], 10, 6),
        ([(30, 50)], 20, 4),
        ([(40, 50)], 10, 0),
    ],
)
def test_waiting_counts_once_however_many_wait(
    gates: list[tuple[float, float]], minutes: float, share: float
) -> None:
    found = figures(course=Course(decisions=[gate(*one) for one in gates]))
    assert found["approval_wait"].value == minutes * 60_000
    assert (found["approval_share"].value, found["approval_share"].of) == (share * 60_000, 30 * 60_000)


def test_only_gates_are_waited_for_as_approvals() -> None:
    doubt = Decision("doubt", "x", at(5), "x", decided=at(9))
    assert figures(course=Course(decisions=[doubt]))["approval_wait"].value == 0


def test_a_gate_that_is_still_waited_for_counts_until_now() -> None:
    figure = figures(course=Course(decisions=[gate(290, None)]))["approval_wait"]
    assert (figure.value, figure.notes) == (10 * 60_000, ("1 of them is still waited for",))


def step(status: str, targets: int = 1, *, begun: bool = True) -> Automated:
    return Automated("run-1", "1", "x", "ssh.command", targets, at(0), status=status, begun=begun)


def work(outcome: str = "done", active: int | None = None, held: int = 0) -> ByHand:
    return ByHand("step", "x", outcome=outcome, active_ms=active, held_ms=held)


@pytest.mark.parametrize(
    ("steps", "by_hand", "rate", "weighted"),
    [
        ([], [], None, None),
        ([step("ok")], [], (1, 1), (1, 1)),
        ([step("ok", 9), step("failed", 1)], [], (1, 2), (9, 10)),
        ([step("ok")], [work()], (1, 2), (1, 2)),
        ([step("ok", 5), step("skipped", 50)], [work(), work("failed")], (1, 3), (5, 7)),
        ([step(""), step("", begun=False)], [work("")], (0, 1), (0, 1)),
        ([step("skipped")], [work("")], None, None),
    ],
)
def test_the_automation_rate_is_of_what_was_executed(
    steps: list[Automated],
    by_hand: list[ByHand],
    rate: tuple[int, int] | None,
    weighted: tuple[int, int] | None,
) -> None:
    found = figures(course=Course(automated=steps, by_hand=by_hand))
    for name, wanted in (("automation_rate", rate), ("automation_rate_by_target", weighted)):
        figure = found[name]
        assert ((figure.value, figure.of) if wanted else figure.why) == (wanted or "no step was executed"), (
            name
        )


def test_toil_is_what_people_say_and_else_from_claim_to_end() -> None:
    by_hand = [work(active=120_000, held=999_000), work(held=60_000), work(), work("")]
    by_hand.append(ByHand("reported", "x", outcome="done"))
    figure = figures(course=Course(by_hand=by_hand))["toil"]
    assert figure.value == 180_000
    assert figure.notes == (
        "of 1 it is the time from claim to end",
        "of 1 nobody knows how long it took",
        "1 not over",
        "what was reported besides (1) says no time",
    )


def test_toil_of_which_nobody_knows_anything_is_not_nothing() -> None:
    figure = figures(course=Course(by_hand=[work()]))["toil"]
    assert (figure.value, figure.why) == (None, "nobody said how long it took, and nobody claimed a step")
    assert figures()["toil"].value == 0


def test_shells_are_counted_when_they_were_closed() -> None:
    by_hand = [ByHand("shell", "x", active_ms=5_000), ByHand("shell", "x")]
    figure = figures(course=Course(by_hand=by_hand))["shells"]
    assert (figure.value, figure.notes) == (5_000, ("one that nobody closed is not counted",))


def test_runs_past_their_gates_and_runs_that_succeeded_are_shares_of_runs() -> None:
    def run(number: int, status: str, bypass: str = "", *, automatic: bool = False) -> RunPart:
        return RunPart(f"run-{number}", "x", "x", automatic, at(0), status=status, bypass=bypass)

    runs = [
        run(1, "succeeded"),
        run(2, "failed", "break-glass"),
        run(3, "", automatic=True),
        run(4, "succeeded"),
    ]
    found = figures(course=Course(runs={one.run: one for one in runs}))
    assert (found["runbook_success"].value, found["runbook_success"].of) == (2, 3)
    assert (found["gate_bypass"].value, found["gate_bypass"].of) == (1, 4)
    assert (found["automatic_runs"].value, found["automatic_runs"].of) == (1, 4)
    assert figures()["gate_bypass"].why == "there was no run"
    only = figures(course=Course(runs={"run-3": runs[2]}))["runbook_success"]
    assert (only.value, only.why) == (None, "no run is over")


MINUTES = st.integers(0, 300)
INTERVALS = st.lists(st.tuples(MINUTES, MINUTES).map(lambda pair: (at(pair[0]), at(pair[1]))), max_size=12)


@given(INTERVALS)
def test_merged_intervals_are_apart_sorted_and_cover_the_same_minutes(
    intervals: list[tuple[datetime, datetime]],
) -> None:
    found = merged(intervals)
    assert all(begin < end for begin, end in found)
    assert all(one[1] < other[0] for one, other in itertools.pairwise(found))
    minutes = {n for n in range(300) for begin, end in intervals if begin <= at(n) < end}
    assert total_ms(intervals) == len(minutes) * 60_000
    assert merged(found) == found
    assert merged(reversed(intervals)) == found


@given(INTERVALS, st.tuples(MINUTES, MINUTES).map(sorted))
def test_what_is_clipped_lies_within_and_is_never_more(
    intervals: list[tuple[datetime, datetime]], within: list[int]
) -> None:
    frame = (at(within[0]), at(within[1]))
    found = clipped(intervals, frame)
    assert all(frame[0] <= begin and end <= frame[1] for begin, end in found)
    assert total_ms(found) <= min(total_ms(intervals), total_ms([frame]))
