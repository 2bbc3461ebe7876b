"""What burns: alerts folded into the groups of each rule, and what follows from that at a moment.

The state comes of the alerts alone, in the order of the log; when it is looked at changes nothing in it. So whoever
folds the same log finds the same, after a restart and in each of several processes. What was done about a group is
not kept here: that says its episode, which lies in the log.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from mimrun.incident.alert import Alert, is_over, over_by
from mimrun.incident.episode import Episode, episode_name
from mimrun.incident.rule import Rule, group_name
from mimrun.incident.track import Track
from mimrun.log.kinds import AlertReceived
from mimrun.log.moment import read_moment

MOST: Final = 100_000
"""So many burning alerts are kept; of more the oldest count as burning until nothing came of their group for long."""
NAMED: Final = 50
"""So many alerts a firing names."""

Place: TypeAlias = tuple[str, str]
"""A rule and a group, by their names."""


@dataclass(frozen=True, slots=True)
class Firing:
    """A rule fires for a group.

    Arguments:
        facets: what the rule groups by, and what the alerts say of it.
        episode: its name; that of an episode which was held back, where this one was.
        alerts: the entries of the alerts that made it fire, the first ones.
        count: how many there are.
        doubt: why what came from sources that may launch something is not enough for it; "" where it is.
        seen: the episode of the group as it was when this was decided.
        lapsed: its proposal that nobody took or let be in time, where it is for making it anew; else "".
    """

    rule: Rule
    group: str
    facets: Mapping[str, str]
    episode: str
    alerts: tuple[int, ...]
    count: int
    doubt: str
    seen: Episode
    lapsed: str = ""


@dataclass(frozen=True, slots=True)
class Ending:
    """An episode is over: nothing of the group burns any more."""

    rule: str
    group: str
    reason: str
    seen: Episode


@dataclass(slots=True)
class _Group:
    """A group of a rule.

    Arguments:
        every, trusted: what burns, of all alerts, and of those that may launch something.
        doubt: what the last alert lacks that may not.
        look: when to look at it again, or earlier than need be; None where only an alert can change it.
    """

    facets: Mapping[str, str]
    every: Track
    trusted: Track
    doubt: str = ""
    look: datetime | None = None


@dataclass(slots=True)
class _Thing:
    """Something that burns: when it began, by its source, and which groups it belongs to."""

    starts_at: str
    places: tuple[Place, ...]


class Burning:
    """Everything that burns, by rule and group.

    Arguments:
        rules: those that are in force.
        cool_down_ms: how long a group is left alone after an episode, where its rule says nothing else.
        most: so many burning alerts are kept.
    """

    def __init__(self, rules: Iterable[Rule], cool_down_ms: int, *, most: int = MOST) -> None:
        self.rules: Mapping[str, Rule] = {rule.name: rule for rule in rules}
        self._cool_down, self._most = timedelta(milliseconds=cool_down_ms), most
        self._groups: dict[Place, _Group] = {}
        self._things: dict[str, _Thing] = {}
        self._over: dict[str, str] = {}
        self._touched: OrderedDict[Place, None] = OrderedDict()
        self._held: dict[Place, None] = {}
        self._looks: list[tuple[datetime, Place]] = []

    @property
    def size(self) -> tuple[int, int]:
        """How many groups and burning alerts are kept."""
        return len(self._groups), len(self._things)

    @property
    def holds(self) -> bool:
        """Whether an episode is held back, as far as it was looked at."""
        return bool(self._held)

    @property
    def asks(self) -> bool:
        """Whether something has come since it was last asked what follows, or is to be looked at again."""
        return bool(self._touched)

    def concerns(self, said: AlertReceived) -> bool:
        """Say whether the labels of an alert have to be read: else the entry itself is enough."""
        return any(rule.may_heed(said) for rule in self.rules.values())

    def hear(self, seq: int, at: datetime, alert: Alert, *, doubt: str = "") -> None:
        """Take up an alert of the log. An alert that is known to be over already counts for nothing.

        Arguments:
            seq, at: the number and the moment of its entry.
            doubt: why it is not enough to launch something; "" where it is.
        """
        # What only tells something about a thing does not change how it stands with it.
        thing = f"{alert.source}\0{alert.fingerprint}" + ("\0info" if alert.status == "info" else "")
        known = self._things.get(thing)
        if alert.status == "resolved":
            if known is None or is_over(known.starts_at, over_by(alert)):
                self._put_out(thing, at)
            self._remember(thing, over_by(alert))
        elif alert.status in ("firing", "info") and not self._is_late(thing, alert.starts_at):
            heeding = [rule for rule in self.rules.values() if rule.may_heed(alert) and rule.heeds(alert)]
            grouped = {(rule.name, group_name(facets := rule.facets(alert))): facets for rule in heeding}
            for place in known.places if known is not None else ():
                if place not in grouped:
                    self._leave(place, thing, at)
            self._things.pop(thing, None)
            for place, facets in grouped.items():
                self._kindle(place, facets, thing, seq, at, doubt=doubt, alert=alert)
            if grouped:
                self._things[thing] = _Thing(alert.starts_at, tuple(grouped))
            self._keep_bounds()

    def expect(self, rule: str, group: str) -> None:
        """Look at a group of which an episode goes on, although nothing of it was heard: it may be over."""
        place = (rule, group)
        if place not in self._groups:
            self._groups[place] = _Group({}, Track(self.rules[rule]), Track(self.rules[rule]))
        self._touched[place] = None

    def decide(
        self,
        now: datetime,
        episodes: Callable[[str, str], Episode],
        *,
        again: bool = False,
        stuck: bool = False,
        lapses: Callable[[Episode], datetime | None] = lambda _: None,
        most: int = 0,
    ) -> list[Firing | Ending]:
        """Say what follows at a moment, for every group where something may have changed.

        Arguments:
            episodes: gives the last episode of a group.
            again: also for groups whose episode is held back.
            stuck: what is held back stays so now; of it only what is over follows.
            lapses: gives until when the proposal of an episode can be taken; None where nobody waits for that.
            most: so much at once; what is left out is said when it is asked next. 0: all of it.
        """
        if again:
            self._touched.update(self._held)
        while self._looks and self._looks[0][0] <= now:
            look, place = heapq.heappop(self._looks)
            group = self._groups.get(place)
            if group is not None and group.look == look:
                group.look, self._touched[place] = None, None
        found: list[Firing | Ending] = []
        once_more: list[Place] = []
        while self._touched and not (most and len(found) >= most):
            place, _ = self._touched.popitem(last=False)
            if place not in self._groups:
                continue
            episode = episodes(*place)
            decision = self._look(place, now, episode, stuck=stuck)
            decision = decision or self._lapse(place, now, episode, lapses)
            if decision is not None:
                found.append(decision)
                if place not in self._held:
                    # Whether it could be done says the episode when it is looked at next.
                    once_more.append(place)
        self._touched.update(dict.fromkeys(once_more))
        return found

    def next_look(self) -> datetime | None:
        """Give when something may follow although no alert comes; None where nothing can."""
        while self._looks:
            look, place = self._looks[0]
            group = self._groups.get(place)
            if group is not None and group.look == look:
                return look
            heapq.heappop(self._looks)
        return None

    def _look(self, place: Place, now: datetime, episode: Episode, *, stuck: bool) -> Firing | Ending | None:
        group, rule = self._groups[place], self.rules[place[0]]
        self._held.pop(place, None)
        burns, ripe = group.every.burns(now), group.every.ripe_at(now)
        if episode.goes_on and not burns:
            return Ending(rule.name, place[1], group.every.why, episode)
        if ripe is not None and not episode.goes_on:
            ripe = max(ripe, self._cool_at(rule, episode) or ripe)
            if ripe <= now:
                return self._firing(place, group, episode, now)
            self._look_at(place, group, ripe)
            return None
        if episode.held:
            self._held[place] = None
            self._look_at(place, group, group.every.stale_at())
            return None if stuck else self._firing(place, group, episode, now)
        look = group.every.stale_at() if burns else group.every.forgotten_at()
        if look is None:
            del self._groups[place]
        self._look_at(place, group, look)
        return None

    def _lapse(
        self, place: Place, now: datetime, episode: Episode, lapses: Callable[[Episode], datetime | None]
    ) -> Firing | None:
        """Make a proposal anew that nobody took in time, while it burns; not more often than the group may rest."""
        group, until = self._groups.get(place), lapses(episode) if episode.proposal else None
        if group is None or until is None:
            return None
        until = max(until, read_moment(episode.fired_at) + self._rest(self.rules[place[0]]))
        if until <= now:
            return self._firing(place, group, episode, now, lapsed=episode.proposal)
        self._look_at(place, group, until)
        return None

    def _cool_at(self, rule: Rule, episode: Episode) -> datetime | None:
        return read_moment(episode.ended_at) + self._rest(rule) if episode.ended_at else None

    def _rest(self, rule: Rule) -> timedelta:
        """Give how long a group is left alone."""
        return self._cool_down if rule.cool_down is None else timedelta(milliseconds=rule.cool_down)

    def _firing(
        self, place: Place, group: _Group, episode: Episode, now: datetime, *, lapsed: str = ""
    ) -> Firing:
        trusted, alerts = group.trusted.ripe_at(now), group.every.alerts()
        return Firing(
            self.rules[place[0]],
            place[1],
            group.facets,
            episode.episode if episode.held or lapsed else episode_name(*place, episode.count + 1),
            tuple(alerts[:NAMED]),
            len(alerts),
            "" if trusted is not None and trusted <= now else group.doubt,
            episode,
            lapsed,
        )

    def _look_at(self, place: Place, group: _Group, look: datetime | None) -> None:
        if look is not None and (group.look is None or look < group.look):
            group.look = look
            heapq.heappush(self._looks, (look, place))

    def _kindle(
        self,
        place: Place,
        facets: Mapping[str, str],
        thing: str,
        seq: int,
        at: datetime,
        *,
        doubt: str,
        alert: Alert,
    ) -> None:
        rule = self.rules[place[0]]
        group = self._groups.get(place)
        if group is None:
            group = self._groups[place] = _Group(facets, Track(rule), Track(rule))
        group.facets = facets
        group.every.add(thing, seq, at, alert)
        if doubt:
            group.doubt = doubt
        else:
            group.trusted.add(thing, seq, at, alert)
        self._touched[place] = None

    def _leave(self, place: Place, thing: str, at: datetime) -> None:
        group = self._groups.get(place)
        if group is not None:
            group.every.remove(thing, at)
            group.trusted.remove(thing, at)
            self._touched[place] = None

    def _put_out(self, thing: str, at: datetime) -> None:
        known = self._things.pop(thing, None)
        for place in known.places if known is not None else ():
            self._leave(place, thing, at)

    def _remember(self, thing: str, over: str) -> None:
        if over:
            before = self._over.pop(thing, "")
            self._over[thing] = max(before, over)
            if len(self._over) > self._most:
                del self._over[next(iter(self._over))]

    def _is_late(self, thing: str, starts_at: str) -> bool:
        """Say whether it is known already that this is over; alerts overtake each other on their way."""
        return bool(starts_at) and starts_at <= self._over.get(thing, "")

    def _keep_bounds(self) -> None:
        while len(self._things) > self._most:
            thing = next(iter(self._things))
            for place in self._things.pop(thing).places:
                group = self._groups.get(place)
                if group is not None:
                    group.every.forget(thing)
                    group.trusted.forget(thing)
