"""Heeding alerts beside all other work: a thread in every worker, which nothing but the worker's end stops."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from mimrun.app.append import append_unless
from mimrun.app.home import Home, open_home
from mimrun.app.presence import HEEDS, stays
from mimrun.app.program_log import Event, program_log
from mimrun.app.rule.drafts import RULES
from mimrun.app.rule.firing import Fired
from mimrun.app.rule.heeding import Heeding
from mimrun.app.rule.loading import RulesNow
from mimrun.catalog import Catalog
from mimrun.errors import MimrunError, Problem
from mimrun.incident.refused import refusal, refused_in
from mimrun.log.entry import Draft
from mimrun.settings import Settings

IDLE_S: Final = 1.0
"""How often it is looked whether there are rules by now."""
TROUBLE_S: Final = 5.0
"""How long is waited when the log, or something else, could not be used."""


class RuleThread:
    """Heeds alerts on a thread of its own, from `start` to `stop`.

    Arguments:
        settings: of the home.
        catalog: the connectors; the installed ones where none is given.
        hurry: called when a run was launched, which somebody is to take up.
    """

    def __init__(
        self, settings: Settings, *, catalog: Catalog | None = None, hurry: Callable[[], None] = lambda: None
    ) -> None:
        self._settings, self._catalog, self._hurry = settings, catalog, hurry
        self._log = program_log(settings)
        self._stop = threading.Event()
        self._said: RulesNow | None = None
        self._thread = threading.Thread(target=self._run, name="rules", daemon=True)

    def start(self) -> None:
        """Begin to heed alerts."""
        self._thread.start()

    def stop(self) -> None:
        """Heed no more; what is being recorded at this moment is recorded."""
        self._stop.set()

    def wait(self, seconds: float | None = None) -> None:
        """Wait until it has stopped."""
        if self._thread.ident is not None:
            self._thread.join(seconds)

    def _run(self) -> None:
        while not self._stop.is_set():
            if not self._settings.rules.exists():
                self._stop.wait(IDLE_S)
                continue
            try:
                self._heed()
            except Exception as exc:  # noqa: BLE001 - one alert, or one rule, must not silence all others
                reason = str(exc) if isinstance(exc, MimrunError) else repr(exc)
                self._log.error(Event.RULES_BROKE, reason=reason)
                self._stop.wait(TROUBLE_S)

    def _heed(self) -> None:
        with stays(self._settings, HEEDS), open_home(self._settings, catalog=self._catalog) as home:
            home.require_key()
            heeding = Heeding(home, told=self._told, stopping=self._stop.is_set)
            while not self._stop.is_set():
                heeding.look()
                self._say(home, heeding.rules)
                heeding.wait()

    def _told(self, fired: Fired) -> None:
        tell_fired(self._settings, fired)
        if fired.run:
            self._hurry()

    def _say(self, home: Home, rules: RulesNow) -> None:
        if rules != self._said:
            self._said = rules
            say_refused(home, rules)


def heed_once(home: Home) -> int:
    """Do once what rules ask for now; says how much was done.

    Raises:
        LogError: the log cannot be read or written.
    """
    if not home.settings.rules.exists():
        return 0
    heeding = Heeding(home, told=lambda fired: tell_fired(home.settings, fired))
    done = heeding.look()
    say_refused(home, heeding.rules)
    return done


def tell_fired(settings: Settings, fired: Fired) -> None:
    """Tell the program log what a rule did."""
    log = program_log(settings)
    facts = {"rule": fired.rule, "group": fired.group, "outcome": fired.outcome, "reason": fired.reason}
    facts |= {"incident": fired.incident, "run": fired.run, "proposal": fired.proposal}
    # In a storm very many are held back, each of which is on record.
    tell = {"failed": log.warning, "held": log.debug}.get(fired.outcome, log.info)
    tell(Event.RULE_FIRED, **{name: value for name, value in facts.items() if value})
    if fired.storm:
        log.warning(Event.STORM_BEGAN, incident=fired.storm, reason=fired.reason)


def say_refused(home: Home, rules: RulesNow) -> None:
    """Say loudly which files of rules are refused: in the program log each time, and on record once.

    Raises:
        StoreError: the log cannot be written.
    """
    for problem in rules.problems:
        program_log(home.settings).error(Event.RULES_REFUSED, reason=str(problem))
    for name in rules.behind:
        stem = name.rpartition("/")[2]
        found = tuple(one for one in rules.problems if not stem or one.file.endswith(stem))
        _record_refused(home, name, found or (Problem(name, 0, 0, "cannot be read"),))


def _record_refused(home: Home, file: str, problems: tuple[Problem, ...]) -> None:
    body = refusal(file, problems)
    append_unless(home, [Draft(RULES, body)], lambda view: refused_in(view, file) == body.reason)
