"""Who may send alerts now: alerts.yaml with the secrets that it names, read again when they change.

What is wrong with a new file or a secret never opens the intake, and does not close it where it worked before: the
last good one stays in force, and the program log says so loudly.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from mimrun.app.known_secrets import known_secrets
from mimrun.app.program_log import Event, program_log
from mimrun.errors import IntakeClosedError, SettingsError
from mimrun.incident.intake.proof import Keys
from mimrun.incident.source import Source, Sources
from mimrun.incident.source_file import load_sources
from mimrun.secret import Masker, Secret, read_secret
from mimrun.settings import Settings

REREAD_S: Final = 60.0
"""After so long the secrets are fetched again, so that one can be replaced without anybody's doing."""
SHORTEST: Final = 16
"""Characters of a token or a secret; a shorter one could be guessed."""


@dataclass(frozen=True, slots=True)
class InForce:
    """The sources as they count at a moment.

    Arguments:
        keys: what proves each source whose secrets could all be read, by kind.
        faults: why others cannot be told now, by the name of the source; "" is the whole file.
        masker: knows every secret that must not get into the log with an alert.
    """

    sources: Sources = field(default_factory=Sources)
    keys: Mapping[str, tuple[Keys, ...]] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)
    masker: Masker = field(default_factory=Masker)

    def require_told(self, kind: str) -> None:
        """See that everybody who may send alerts of a kind would have been recognised.

        Raises:
            IntakeClosedError: somebody would not.
        """
        of_kind = {name for name, source in self.sources.by_name.items() if source.kind == kind}
        for name, why in self.faults.items():
            if not name or name in of_kind:
                raise IntakeClosedError(f"alerts cannot be taken in now: {why}")


class SourcesInForce:
    """Keeps the sources of a home, and looks after changes. Safe from several threads.

    Arguments:
        monotonic: the clock that says when secrets are due to be fetched again.
    """

    def __init__(self, settings: Settings, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._monotonic = settings, monotonic
        self._file = str(settings.alerts)
        self._lock = threading.Lock()
        self._mark: tuple[int, int, int] | None = None
        self._read_at = 0.0
        self._secrets: dict[str, bytes] = {}
        self._now: InForce | None = None

    def now(self) -> InForce:
        """Give the sources as they count now."""
        mark = _mark(self._file)
        known = self._now
        if known is not None and mark == self._mark and self._monotonic() < self._read_at + REREAD_S:
            return known
        # While one thread reads again, which a vault may make long, the others go on with what they have.
        if self._lock.acquire(blocking=known is None):
            try:
                if self._now is known:
                    self._now = self._read(mark)
            finally:
                self._lock.release()
        assert self._now is not None
        return self._now

    def _read(self, mark: tuple[int, int, int]) -> InForce:
        was, changed = self._now or InForce(), mark != self._mark
        sources, faults = was.sources, dict[str, str]()
        if changed or "" in was.faults:
            try:
                sources = load_sources(self._settings.alerts)
            except SettingsError as exc:
                self._tell(str(exc), kept=self._now is not None and "" not in was.faults)
                if self._now is None or "" in was.faults:
                    faults[""] = str(exc)
        keys: dict[str, tuple[Keys, ...]] = {}
        for name, source in sources.by_name.items():
            try:
                keys[source.kind] = (*keys.get(source.kind, ()), self._keys(name, source))
            except SettingsError as exc:
                faults[name] = str(exc)
                self._tell(str(exc), kept=False)
        masker = known_secrets(self._settings)
        masker.learn(*(Secret(value.decode("utf-8", "replace")) for value in self._secrets.values()))
        self._mark, self._read_at = mark, self._monotonic()
        return InForce(sources, keys, faults, masker)

    def _keys(self, name: str, source: Source) -> Keys:
        return Keys(
            name,
            source,
            tuple(self._secret(reference) for reference in source.token),
            tuple(self._secret(reference) for reference in source.secrets),
        )

    def _secret(self, reference: str) -> bytes:
        """Fetch a secret; where that fails, the one that was fetched before stays good."""
        try:
            self._secrets[reference] = read_source_secret(reference).reveal().encode()
        except SettingsError as exc:
            if reference not in self._secrets:
                raise
            self._tell(str(exc), kept=True)
        return self._secrets[reference]

    def _tell(self, why: str, *, kept: bool) -> None:
        said = "what was read before stays in force" if kept else "alerts are refused until it is mended"
        program_log(self._settings).error(Event.ALERTS_UNREADABLE, reason=f"{why}; {said}")


def secret_faults(sources: Sources) -> dict[str, str]:
    """Say by the names of sources what is wrong with a secret of theirs; nothing where all can be used."""
    faults: dict[str, str] = {}
    for name, source in sources.by_name.items():
        for reference in (*source.token, *source.secrets):
            try:
                read_source_secret(reference)
            except SettingsError as exc:
                faults.setdefault(name, str(exc))
    return faults


def read_source_secret(reference: str) -> Secret:
    """Fetch what proves a source.

    Raises:
        SettingsError: it cannot be read, or could be guessed.
    """
    secret = read_secret(reference)
    if len(secret.reveal()) < SHORTEST:
        raise SettingsError(
            f"secret {reference!r}: it has fewer than {SHORTEST} characters and could be guessed; make one with"
            " `openssl rand -hex 32`"
        )
    return secret


def _mark(file: str) -> tuple[int, int, int]:
    try:
        stat = os.stat(file)  # noqa: PTH116 - asked for each delivery
    except OSError:
        return (0, 0, 0)
    return (stat.st_mtime_ns, stat.st_ino, stat.st_size)
