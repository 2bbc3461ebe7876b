"""Heeding alerts: the log is followed, what burns is kept up to date, and what rules decide is done at once.

It remembers only what saves reading again. A process that starts anew folds the alerts of the time that counts, and
finds what the one before it had: what was done about them already stands in the log.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final

from mimrun.app.home import Home
from mimrun.app.rule.firing import Fired, Firings
from mimrun.app.rule.loading import RulesNow, RulesReader
from mimrun.errors import ErasedError, SettingsError
from mimrun.incident.alert import Alert, alert_without_labels
from mimrun.incident.burning import Burning, Ending
from mimrun.incident.episode import Episode, Episodes, episode_in
from mimrun.incident.rule import Rule
from mimrun.incident.source_file import load_sources
from mimrun.log.entry import LogEntry
from mimrun.log.kinds import AlertReceived, Kind
from mimrun.log.store import Store

AT_ONCE: Final = 50
"""After so many decisions the log is looked at again: an alert may be over before something is launched for it."""
CHECK_S: Final = 0.5
"""How often it is looked whether the rules were changed."""
MEND_S: Final = 30.0
"""After so long rules that were refused are looked at again: the library may have been mended."""
AGAIN_S: Final = 1.0
"""How often it is looked whether what was held back still is."""
REST_S: Final = 1.0
"""How long it is waited for an entry before time itself is looked at."""


class Heeding:
    """Heeds the alerts of one home.

    Arguments:
        home: the opened home.
        told: called with each thing that a rule did.
        stopping: says whether to leave off; what was not done is done by whoever looks next.
        monotonic: a clock in seconds.
    """

    def __init__(
        self,
        home: Home,
        *,
        told: Callable[[Fired], None] = lambda _: None,
        stopping: Callable[[], bool] = lambda: False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._home, self._told, self._stopping, self._monotonic = home, told, stopping, monotonic
        self._reader, self._firings = RulesReader(home), Firings(home)
        self._burning: Burning | None = None
        self._launchable: frozenset[str] = frozenset()
        self._sources_mark: tuple[int, int] = (-1, -1)
        self._seq, self._heard = 0, datetime.min.replace(tzinfo=UTC)
        self._check_at = self._mend_at = self._again_at = 0.0

    @property
    def rules(self) -> RulesNow:
        """The rules in force."""
        return self._reader.now

    def look(self) -> int:
        """Take up what has come, and do what follows from it now; says how much was done.

        Raises:
            LogError: the log cannot be read or written.
        """
        burning = self._up_to_date()
        done = 0
        while not self._stopping():
            self._catch_up(burning)
            stuck = self._firings.obstructed(self._reader.now.limits)
            again = not stuck and self._may_look_again(burning)
            decisions = burning.decide(
                self._now(),
                self._episode,
                again=again,
                stuck=stuck,
                lapses=lambda episode: self._firings.lapses(episode, self._reader.now.limits),
                most=AT_ONCE,
            )
            came = 0
            for decision in decisions:
                if self._stopping():
                    break
                if isinstance(decision, Ending):
                    came += self._firings.end(decision)
                    continue
                fired = self._firings.fire(decision, self._reader.now)
                if fired is not None:
                    came += 1
                    self._told(fired)
            done += came
            if not came and len(decisions) < AT_ONCE:
                # What could not be done is looked at when something has come, or after a while.
                return done
        return done

    def wait(self, seconds: float = REST_S) -> None:
        """Wait until something is recorded, or something may follow although nothing is.

        Arguments:
            seconds: so long at most.
        """
        burning = self._burning
        if burning is not None:
            look = burning.next_look()
            if look is not None:
                seconds = min(seconds, max(0.0, (look - self._home.clock()).total_seconds()))
            if burning.asks:
                seconds = min(seconds, AGAIN_S / 10)
        self._home.store.follow(self._seq, seconds)

    def _now(self) -> datetime:
        """Give the present moment, which is not before the last alert: the log's time stands where the clock goes back."""
        return max(self._home.clock(), self._heard)

    def _may_look_again(self, burning: Burning) -> bool:
        """Say whether it is time to look at what was held back."""
        now = self._monotonic()
        if not burning.holds or now < self._again_at:
            return False
        self._again_at = now + AGAIN_S
        return True

    def _episode(self, rule: str, group: str) -> Episode:
        return episode_in(self._home.store, rule, group)

    def _up_to_date(self) -> Burning:
        """Give what burns by the rules in force; where these have changed it is folded anew."""
        now, changed = self._monotonic(), self._burning is None
        if changed or now >= self._check_at:
            self._check_at = now + CHECK_S
            anyway = bool(self._reader.now.problems) and now >= self._mend_at
            if anyway:
                self._mend_at = now + MEND_S
            changed = self._reader.changed(anyway=anyway) or changed
            changed = self._sources_changed() or changed
        if changed or self._burning is None:
            self._burning = self._folded()
        return self._burning

    def _sources_changed(self) -> bool:
        """Read again which sources may launch something, where that has changed."""
        try:
            stat = self._home.settings.alerts.stat()
            mark = (stat.st_mtime_ns, stat.st_size)
        except OSError:
            mark = (0, 0)
        if mark == self._sources_mark:
            return False
        self._sources_mark, before = mark, self._launchable
        with suppress(SettingsError):
            self._launchable = load_sources(self._home.settings.alerts).launchable()
        return self._launchable != before

    def _folded(self) -> Burning:
        """Fold the alerts that may count still, and look for episodes that are over since nobody was there."""
        rules = self._reader.now
        burning = Burning(rules.rules, rules.limits.cool_down)
        self._seq = seq_before(self._home.store, self._home.clock() - longest(rules.rules))
        self._catch_up(burning)
        for _, state in self._home.store.projections(Episodes.name):
            episode = Episode.decode(state)
            # What a rule did that is not there any more is over when it is there again, and nothing burns.
            if episode.goes_on and episode.rule in burning.rules:
                burning.expect(episode.rule, episode.group)
        return burning

    def _catch_up(self, burning: Burning) -> None:
        size = self._home.store.head().size
        if size <= self._seq:
            return
        for entry in self._home.store.entries(after=self._seq, kinds={Kind.ALERT_RECEIVED}):
            self._take_up(burning, entry)
        self._seq = max(self._seq, size)

    def _take_up(self, burning: Burning, entry: LogEntry) -> None:
        said = entry.body
        assert isinstance(said, AlertReceived)
        alert = self._whole(entry) if burning.concerns(said) else None
        doubt = doubt_of(said, self._launchable)
        burning.hear(entry.seq, entry.ts, alert or alert_without_labels(said), doubt=doubt)
        self._seq, self._heard = entry.seq, entry.ts

    def _whole(self, entry: LogEntry) -> Alert | None:
        """Read an alert with its labels; None where they were erased."""
        with suppress(ErasedError):
            data = self._home.store.blob(entry, "alert")
            return None if data is None else Alert.decode(data)
        return None


def doubt_of(said: AlertReceived, launchable: Collection[str]) -> str:
    """Say why an alert is not enough to launch something; "" where it is.

    Arguments:
        launchable: the sources of which `alerts.yaml` says that their alerts may.
    """
    if said.auth not in ("token", "signature"):
        return f"nobody has proven that {said.source} sent it ({said.auth})"
    if said.source not in launchable:
        return f"{said.source} may not launch anything: alerts.yaml does not say `may_launch: true`"
    return "its severity is not known" if said.severity == "unknown" else ""


def longest(rules: Iterable[Rule]) -> timedelta:
    """Give for how long an alert may count after it has come."""
    times = [
        max(rule.ends_after, rule.count.within if rule.count is not None else 0) + rule.for_ for rule in rules
    ]
    return timedelta(milliseconds=max(times, default=0))


def seq_before(store: Store, moment: datetime) -> int:
    """Give the last entry before a moment, 0 where there is none; entries lie in the order of their moments."""
    low, high = 0, store.head().size
    while low < high:
        middle = (low + high + 1) // 2
        if store.entry(middle).ts < moment:
            low = middle
        else:
            high = middle - 1
    return low
