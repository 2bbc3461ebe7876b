"""What burns, and what follows: tables first, then whatever order, repetitions and restarts Hypothesis thinks of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from builders.rules import an_alert
from hypothesis import given, settings
from hypothesis import strategies as st

from mimrun.incident.alert import Alert
from mimrun.incident.burning import Burning, Ending, Firing
from mimrun.incident.episode import Episode
from mimrun.incident.rule import Rule
from mimrun.log.kinds import RuleEnded, RuleFired
from mimrun.log.moment import write_moment

T0 = datetime(2026, 11, 22, tzinfo=UTC)
DIGEST = "sha256:" + "0" * 64
COOL_MS = 600_000


def a_rule(**said: Any) -> Rule:
    given = {"name": "down", "title": "Down", "action": "notify", "group_by": ["cluster"], **said}
    return Rule.model_validate(given)


@dataclass
class World:
    """A log of alerts and of what was done, and whoever heeds it now.

    Arguments:
        rules: in force.
    """

    rules: Sequence[Rule]
    log: list[tuple[int, datetime, Alert, str]] = field(default_factory=list)
    done: list[tuple[int, str, str, int]] = field(default_factory=list)
    episodes: dict[tuple[str, str], Episode] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Begin anew, as another process does."""
        self.burning = Burning(self.rules, COOL_MS)
        for seq, at, alert, doubt in self.log:
            self.burning.hear(seq, at, alert, doubt=doubt)
        for (rule, group), episode in self.episodes.items():
            if episode.goes_on:
                self.burning.expect(rule, group)

    def come(self, seconds: int, alert: Alert, doubt: str = "") -> None:
        at = T0 + timedelta(seconds=seconds)
        self.log.append((len(self.log) + 1, at, alert, doubt))
        self.burning.hear(len(self.log), at, alert, doubt=doubt)

    def look(self, seconds: int, *, again: bool = False, outcome: str = "notified") -> None:
        now = T0 + timedelta(seconds=seconds)
        while decisions := self.burning.decide(now, self._episode, again=again):
            for one in decisions:
                at = write_moment(now)
                if isinstance(one, Ending):
                    ended = RuleEnded(
                        rule=one.rule, episode=one.seen.episode, group=one.group, reason=one.reason
                    )
                    self.episodes[one.rule, one.group] = one.seen.after(ended, at)
                    self.done.append((seconds, "ended", one.group, 0))
                elif not (one.seen.held and outcome == "held"):
                    fired = RuleFired.model_validate(
                        {
                            "rule": one.rule.name,
                            "rules": DIGEST,
                            "episode": one.episode,
                            "group": one.group,
                            "outcome": outcome,
                        }
                    )
                    self.episodes[one.rule.name, one.group] = one.seen.after(fired, at)
                    self.done.append((seconds, "doubted" if one.doubt else "fired", one.group, one.count))
            if again:
                return

    def _episode(self, rule: str, group: str) -> Episode:
        return self.episodes.get((rule, group), Episode())


ORDERS, BILLING = "cluster=orders", "cluster=billing"


def test_it_fires_once_and_ends_once() -> None:
    world = World([a_rule()])
    world.come(0, an_alert("1"))
    world.look(0)
    world.come(10, an_alert("1"))
    world.come(20, an_alert("2"))
    world.look(20)
    world.come(30, an_alert("1", "resolved"))
    world.look(30)
    world.come(40, an_alert("2", "resolved"))
    world.look(40)
    assert world.done == [(0, "fired", ORDERS, 1), (40, "ended", ORDERS, 0)]


def test_what_comes_and_goes_between_two_looks_is_left_alone() -> None:
    world = World([a_rule()])
    world.come(0, an_alert("1"))
    world.come(1, an_alert("1", "resolved"))
    world.look(5)
    assert world.done == []
    assert world.burning.size == (0, 0)


@pytest.mark.parametrize(
    ("starts", "fires"),
    [
        (("10", "10"), False),
        (("10", "20"), False),
        (("20", "10"), True),
        (("", "10"), True),
        (("10", ""), True),
    ],
)
def test_a_firing_that_comes_behind_its_resolution_is_late(starts: tuple[str, str], fires: bool) -> None:
    began, resolved = (write_moment(T0 + timedelta(seconds=int(text))) if text else "" for text in starts)
    world = World([a_rule()])
    world.come(30, an_alert("1", "resolved", starts_at=resolved))
    world.come(31, an_alert("1", starts_at=began))
    world.look(31)
    assert bool(world.done) is fires


def test_the_resolution_of_an_older_firing_does_not_end_a_newer_one() -> None:
    world = World([a_rule()])
    early, later = (write_moment(T0 + timedelta(seconds=s)) for s in (0, 100))
    world.come(101, an_alert("1", starts_at=later))
    world.look(101)
    world.come(102, an_alert("1", "resolved", starts_at=early))
    world.look(102)
    assert [what for _, what, _, _ in world.done] == ["fired"]


@pytest.mark.parametrize(
    ("said", "ends"),
    [({}, True), ({"ends_at": 101}, True), ({"ends_at": 99}, False), ({"starts_at": 101}, True)],
)
def test_a_resolution_without_the_beginning_ends_what_began_before_it(
    said: dict[str, int], ends: bool
) -> None:
    world = World([a_rule()])
    moments = {name: write_moment(T0 + timedelta(seconds=at)) for name, at in said.items()}
    world.come(102, an_alert("1", starts_at=write_moment(T0 + timedelta(seconds=100))))
    world.look(102)
    world.come(103, an_alert("1", "resolved", **moments))
    world.look(103)
    assert [what for _, what, _, _ in world.done] == ["fired", "ended"][: 1 + ends]


def test_it_must_go_on_for_so_long_without_a_break() -> None:
    world = World([a_rule(**{"for": "60s"})])
    world.come(0, an_alert("1"))
    world.come(50, an_alert("1", "resolved"))
    world.come(55, an_alert("1"))
    world.look(100)
    assert world.done == []
    assert world.burning.next_look() == T0 + timedelta(seconds=115)
    world.look(115)
    assert world.done == [(115, "fired", ORDERS, 1)]


def test_one_after_the_other_is_no_break_for_a_group() -> None:
    world = World([a_rule(**{"for": "60s"})])
    world.come(0, an_alert("1"))
    world.come(40, an_alert("2"))
    world.come(50, an_alert("1", "resolved"))
    world.look(60)
    assert world.done == [(60, "fired", ORDERS, 1)]


@pytest.mark.parametrize(
    ("times", "fires"), [((0, 10, 59), True), ((0, 10, 60), False), ((0, 30, 61, 62), True)]
)
def test_so_many_must_come_within_so_long(times: tuple[int, ...], fires: bool) -> None:
    world = World([a_rule(count={"at_least": 3, "within": "60s"})])
    for number, at in enumerate(times):
        world.come(at, an_alert(str(number)))
        world.look(at)
    assert [what for _, what, _, _ in world.done] == ["fired"] * fires


def test_the_same_thing_many_times_counts_unless_they_must_be_different() -> None:
    rules = [
        a_rule(name="each", count={"at_least": 3, "within": "60s"}),
        a_rule(name="different", count={"at_least": 3, "within": "60s", "distinct_by": ["instance"]}),
    ]
    world = World(rules)
    labels = {"alertname": "Down", "cluster": "orders"}
    for at in range(3):
        world.come(at, an_alert("1", labels={**labels, "instance": "a"}))
    world.look(3)
    assert set(world.episodes) == {("each", ORDERS)}
    for at, instance in enumerate("bc", 4):
        world.come(at, an_alert(instance, labels={**labels, "instance": instance}))
    world.look(6)
    assert set(world.episodes) == {("each", ORDERS), ("different", ORDERS)}


def test_a_count_that_lapses_begins_anew() -> None:
    world = World([a_rule(count={"at_least": 2, "within": "60s"}, **{"for": "50s"})])
    world.come(0, an_alert("1"))
    world.come(20, an_alert("2"))  # enough from 20 to 60
    world.come(100, an_alert("3"))
    world.come(110, an_alert("4"))  # enough from 110 to 160
    world.look(159)
    assert world.done == []
    assert world.burning.next_look() == T0 + timedelta(seconds=160)
    world.look(160)
    assert world.done == [], "at that moment it is enough no more"
    later = World(world.rules, world.log)
    later.come(155, an_alert("5"))
    later.look(160)
    assert later.done == [(160, "fired", ORDERS, 5)]


def test_the_value_must_lie_where_the_rule_says_and_may_leave_it() -> None:
    world = World([a_rule(value={"above": 5})])
    for at, value in enumerate(["5", "5.1", "nan", "6", "4"]):
        world.come(at, an_alert("1", value=value))
        world.look(at)
    assert [(at, what) for at, what, _, _ in world.done] == [(1, "fired"), (2, "ended")]
    world.look(2 + 601)
    assert len(world.done) == 2


def test_what_changes_its_group_leaves_the_one_it_was_in() -> None:
    world = World([a_rule()])
    world.come(0, an_alert("1"))
    world.look(0)
    world.come(1, an_alert("1", labels={"cluster": "billing"}))
    world.look(1)
    assert world.done == [(0, "fired", ORDERS, 1), (1, "ended", ORDERS, 0), (1, "fired", BILLING, 1)]


def test_while_it_cools_down_it_waits_and_fires_if_it_still_burns() -> None:
    world = World([a_rule()])
    for at, status in enumerate(["firing", "resolved", "firing"]):
        world.come(at, an_alert("1", status))
        world.look(at)
    assert world.burning.next_look() == T0 + timedelta(seconds=601)
    world.look(600)
    assert len(world.done) == 2
    world.look(601)
    assert world.done[2:] == [(601, "fired", ORDERS, 1)]


def test_what_was_held_back_fires_when_it_is_looked_at_again_and_still_burns() -> None:
    world = World([a_rule()])
    world.come(0, an_alert("1"))
    world.come(0, an_alert("2", labels={"cluster": "billing"}))
    world.look(0, outcome="held")
    world.come(1, an_alert("2", "resolved"))
    world.look(1, outcome="held")
    assert world.burning.holds
    world.look(2, again=True)
    assert [(what, group) for _, what, group, _ in world.done[2:]] == [("ended", BILLING), ("fired", ORDERS)]
    assert world.episodes["down", ORDERS].count == 1


def test_while_everything_is_held_back_only_what_is_over_follows() -> None:
    world = World([a_rule()])
    world.come(0, an_alert("1"))
    world.come(0, an_alert("2", labels={"cluster": "billing"}))
    world.look(0, outcome="held")
    world.restart()
    world.come(1, an_alert("2", "resolved"))
    now = T0 + timedelta(seconds=1)
    (decision,) = world.burning.decide(now, world._episode, stuck=True)
    assert isinstance(decision, Ending)
    assert decision.group == BILLING
    world.look(2, again=True)
    assert [(what, group) for _, what, group, _ in world.done[2:]] == [("ended", BILLING), ("fired", ORDERS)]


def test_what_is_proposed_anew_is_so_no_more_often_than_the_group_may_rest() -> None:
    world = World([a_rule()])
    world.come(0, an_alert("1"))
    world.look(0)
    said = {"outcome": "proposed", "proposal": "prop-1"}
    episode = world.episodes["down", ORDERS] = world.episodes["down", ORDERS].model_copy(update=said)
    world.restart()
    found = {}
    for seconds in (1, 599, 600, 601):
        now = T0 + timedelta(seconds=seconds)
        found[seconds] = world.burning.decide(now, world._episode, lapses=lambda _: T0 + timedelta(seconds=5))
    assert (found[1], found[599]) == ([], [])
    for seconds in (600, 601):
        (firing,) = found[seconds]
        assert isinstance(firing, Firing)
        assert (firing.lapsed, firing.episode) == ("prop-1", episode.episode)


def test_what_only_tells_something_is_heeded_by_rules_that_ask_for_it_and_ends_nothing() -> None:
    world = World([a_rule(), a_rule(name="told", match={"status": "info"}, ends_after="1h")])
    world.come(0, an_alert("1"))
    world.look(0)
    world.come(1, an_alert("1", "info"))
    world.look(1)
    assert {rule for rule, _ in world.episodes} == {"down", "told"}
    assert all(episode.goes_on for episode in world.episodes.values())
    world.come(2, an_alert("1", "resolved"))
    world.look(2)
    assert [(rule, one.goes_on) for (rule, _), one in world.episodes.items()] == [
        ("down", False),
        ("told", True),
    ]


def test_what_may_not_launch_is_a_doubt_until_enough_comes_that_may() -> None:
    world = World([a_rule(count={"at_least": 2, "within": "60s"})])
    world.come(0, an_alert("1"), doubt="nobody knows")
    world.come(1, an_alert("2"))
    world.look(1)
    assert world.done == [(1, "doubted", ORDERS, 2)]
    sure = World([a_rule(count={"at_least": 2, "within": "60s"})])
    for at, doubt in enumerate(["nobody knows", "", ""]):
        sure.come(at, an_alert(str(at)), doubt=doubt)
    sure.look(3)
    assert sure.done == [(3, "fired", ORDERS, 3)]


def test_what_nobody_resolves_is_over_when_nothing_came_for_long() -> None:
    world = World([a_rule(ends_after="1h")])
    world.come(0, an_alert("1"))
    world.look(0)
    world.come(1800, an_alert("1"))
    world.look(3600)
    assert world.burning.next_look() == T0 + timedelta(seconds=5400)
    world.look(5400)
    assert world.done[1:] == [(5400, "ended", ORDERS, 0)]
    assert world.burning.size[0] == 0


def test_more_than_can_be_kept_burns_until_nothing_came_for_long() -> None:
    world = World([a_rule(ends_after="1h")])
    world.burning = Burning(world.rules, COOL_MS, most=10)
    for number in range(50):
        world.come(number, an_alert(str(number)))
    world.look(50)
    assert world.burning.size == (1, 10)
    for number in range(50):
        world.come(100, an_alert(str(number), "resolved"))
    world.look(100)
    assert [what for _, what, _, _ in world.done] == ["fired"], "forty of them may burn still"
    world.look(3700)
    assert [what for _, what, _, _ in world.done] == ["fired", "ended"]


def test_a_look_at_every_moment_says_no_more_than_a_look_when_something_may_follow() -> None:
    rule = a_rule(count={"at_least": 2, "within": "30s"}, **{"for": "20s"}, ends_after="40s")
    patient, busy = World([rule]), World([rule])
    for world in (patient, busy):
        for at, name, status in [
            (0, "1", "firing"),
            (5, "2", "firing"),
            (28, "3", "firing"),
            (50, "1", "resolved"),
        ]:
            if world is busy:
                for second in range(at):
                    world.look(second)
            while (look := world.burning.next_look()) is not None and look <= T0 + timedelta(seconds=at):
                world.look(int((look - T0).total_seconds()))
            world.come(at, an_alert(name, status))
            world.look(at)
        while (look := world.burning.next_look()) is not None:
            world.look(int((look - T0).total_seconds()))
    assert patient.done == busy.done
    assert [what for _, what, _, _ in patient.done] == ["fired", "ended"]


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["firing", "firing", "firing", "resolved", "acknowledged", "look", "restart"]),
        st.integers(1, 4),  # what it is about
        st.integers(0, 90),  # seconds since the one before
        st.booleans(),  # whether it may launch
        st.sampled_from(["orders", "billing"]),
    ),
    max_size=40,
)
RULES = st.fixed_dictionaries(
    {},
    optional={
        "for": st.sampled_from(["0s", "30s", "2m"]),
        "count": st.sampled_from(
            [{"at_least": 2, "within": "60s"}, {"at_least": 2, "within": "2m", "distinct_by": ["instance"]}]
        ),
        "ends_after": st.sampled_from(["1m", "10m", "24h"]),
        "cool_down": st.sampled_from(["0s", "1m", "15m"]),
        "group_by": st.sampled_from([[], ["cluster"]]),
    },
)


def play(rule: Rule, events: Sequence[tuple[str, int, int, bool, str]], *, restarts: bool) -> World:
    """Let it happen; whoever heeds it begins anew where that is said, or never does."""
    world, now = World([rule]), 0
    for what, about, after, trusted, cluster in events:
        now += after
        if what == "restart":
            if restarts:
                world.restart()
        elif what == "look":
            world.look(now)
        else:
            labels = {"cluster": cluster, "instance": str(about)}
            alert = an_alert(f"{cluster}{about}", what, labels=labels)
            world.come(now, alert, doubt="" if trusted else "nobody knows")
    world.look(now)
    while (look := world.burning.next_look()) is not None:
        now = max(now, int((look - T0).total_seconds()))
        world.look(now)
    return world


@settings(max_examples=300, deadline=None)
@given(RULES, EVENTS)
def test_a_restart_at_any_moment_changes_no_decision(
    rule: dict[str, Any], events: list[tuple[str, int, int, bool, str]]
) -> None:
    steady, restarted = (play(a_rule(**rule), events, restarts=restarts) for restarts in (False, True))
    # What follows at one moment has no order.
    assert sorted(steady.done) == sorted(restarted.done)
    assert steady.episodes == restarted.episodes


@settings(max_examples=200, deadline=None)
@given(RULES, EVENTS)
def test_an_episode_fires_once_ends_once_and_nothing_is_kept_of_it(
    rule: dict[str, Any], events: list[tuple[str, int, int, bool, str]]
) -> None:
    world = play(a_rule(**rule), events, restarts=True)
    for group in {group for _, _, group, _ in world.done}:
        words = ["ended" if what == "ended" else "fired" for _, what, mine, _ in world.done if mine == group]
        assert words == ["fired", "ended"] * (len(words) // 2), "each is over before the next one begins"
    assert not any(episode.goes_on for episode in world.episodes.values())
    assert world.burning.size[0] == 0
    assert not world.burning.asks


@settings(max_examples=200, deadline=None)
@given(RULES, EVENTS, st.data())
def test_what_comes_twice_changes_nothing(
    rule: dict[str, Any], events: list[tuple[str, int, int, bool, str]], data: st.DataObject
) -> None:
    """An alert of the log is taken up again by whoever is not sure whether it was."""
    if "count" in rule:
        return  # there each entry counts, and the log has none twice
    once, twice = World([a_rule(**rule)]), World([a_rule(**rule)])
    now = 0
    for what, about, after, _, cluster in events:
        now += after
        for world, times in ((once, 1), (twice, data.draw(st.integers(1, 3), "times"))):
            for _ in range(times if what in ("firing", "resolved") else 0):
                world.come(now, an_alert(f"{cluster}{about}", what, labels={"cluster": cluster}))
            world.look(now)
    assert [(at, what, group) for at, what, group, _ in once.done] == [
        (at, what, group) for at, what, group, _ in twice.done
    ]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 5), st.sampled_from(["orders", "billing"])), min_size=1, max_size=12),
    st.randoms(use_true_random=False),
)
def test_the_order_in_which_alerts_arrive_together_changes_no_decision(
    alerts: list[tuple[int, str]], random: Any
) -> None:
    shuffled = alerts[:]
    random.shuffle(shuffled)
    worlds = [World([a_rule()]), World([a_rule()])]
    for world, order in zip(worlds, (alerts, shuffled), strict=True):
        for about, cluster in order:
            world.come(0, an_alert(f"{cluster}{about}", labels={"cluster": cluster}))
        world.look(1)
    first, second = ({(what, group, n) for _, what, group, n in world.done} for world in worlds)
    assert first == second
