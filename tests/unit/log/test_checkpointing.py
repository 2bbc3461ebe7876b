"""When a checkpoint is due: by number, by time, and by what was recorded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mimrun.log.checkpointing import ASKING, EVERY, WITHIN_S, is_due
from mimrun.log.kinds import Kind

KINDS = st.frozensets(st.sampled_from(Kind))
QUIET = st.frozensets(st.sampled_from(sorted(set(Kind) - ASKING)))


def test_the_figures_are_those_that_the_documentation_promises() -> None:
    assert (EVERY, WITHIN_S) == (100, 60)


def test_a_decision_an_end_a_stop_and_a_changed_key_ask_for_one() -> None:
    assert {
        "gate.decided",
        "change.decided",
        "breakglass.opened",
        "breakglass.merged",
        "run.ended",
        "log.key",
        "log.key_retired",
        "log.moved",
        "killswitch.pulled",
        "killswitch.lift_agreed",
        "redact.applied",
        "shell.closed",
    } == ASKING


@given(KINDS, st.floats(0, 1e9))
def test_nothing_new_is_never_due(kinds: frozenset[Kind], seconds: float) -> None:
    assert not is_due(0, seconds, kinds)


@given(st.integers(1, EVERY - 1), st.floats(0, WITHIN_S, exclude_max=True), QUIET)
def test_a_few_entries_that_are_not_old_wait(entries: int, seconds: float, kinds: frozenset[Kind]) -> None:
    assert not is_due(entries, seconds, kinds)


@given(st.integers(EVERY, 10**9), st.floats(0, 1e9), KINDS)
def test_many_entries_are_due_at_once(entries: int, seconds: float, kinds: frozenset[Kind]) -> None:
    assert is_due(entries, seconds, kinds)


@given(st.integers(1, EVERY), st.floats(WITHIN_S, 1e9), KINDS)
def test_one_entry_is_due_after_a_minute(entries: int, seconds: float, kinds: frozenset[Kind]) -> None:
    assert is_due(entries, seconds, kinds)


@given(st.integers(1, EVERY), st.floats(0, 1e9), KINDS, st.sampled_from(sorted(ASKING)))
def test_what_asks_for_one_is_due_at_once(
    entries: int, seconds: float, kinds: frozenset[Kind], asking: Kind
) -> None:
    assert is_due(entries, seconds, kinds | {asking})
