"""The secrets of one run: each is fetched when a step that names it is reached, and masked from then on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from mimrun.errors import SettingsError
from mimrun.runbook.node import PlannedInclude
from mimrun.runbook.plan import Plan
from mimrun.secret import Masker, Secret, parse_reference, read_secret

AGAIN_S: Final = 10.0
"""So long after a secret could not be fetched it is not asked for again: fifty hosts ask at once."""


def secret_references(plan: Plan) -> dict[str, str]:
    """Give every secret that a plan refers to, by its input: `token`, or `5.token` of the runbook included there."""
    found = _references("", plan.inputs)
    for node in plan.walk():
        if isinstance(node, PlannedInclude):
            found |= _references(f"{node.path}.", node.inputs)
    return found


def _references(place: str, inputs: Mapping[str, JsonValue]) -> dict[str, str]:
    return {
        f"{place}{name}": str(value["secret"])
        for name, value in inputs.items()
        if isinstance(value, dict) and set(value) == {"secret"}
    }


@dataclass(slots=True)
class _Entry:
    lock: threading.Lock = field(default_factory=threading.Lock)
    secret: Secret | None = None
    error: SettingsError | None = None
    failed_at: float = 0.0


class RunSecrets:
    """Fetches secrets for one worker, and knows how to mask them.

    Arguments:
        references: every secret that the plan names.
        read: fetches one.
        monotonic: a clock in seconds.
    """

    def __init__(
        self,
        references: Iterable[str],
        *,
        read: Callable[[str], Secret] = read_secret,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._entries = {reference: _Entry() for reference in references}
        self._read, self._monotonic = read, monotonic

    @cached_property
    def masker(self) -> Masker:
        """Takes the secrets that are known by now out of what is captured.

        What lies in this process's environment or in a file of this machine is known from the start, since
        looking costs nothing: a target may show it before any step uses it. A store elsewhere is not asked
        before a step needs it.
        """
        return Masker(secret for reference in self._entries if (secret := self._at_hand(reference)))

    def reveal(self, reference: str) -> Secret:
        """Fetch a secret, unless this worker has it: a run sees one value of it from its first use on.

        Raises:
            SettingsError: it cannot be fetched on this machine, or could not be a moment ago.
        """
        entry = self._entries[reference]
        with entry.lock:
            if entry.secret is not None:
                return entry.secret
            if entry.error is not None and self._monotonic() - entry.failed_at < AGAIN_S:
                raise SettingsError(str(entry.error))
            try:
                secret = self._read(reference)
            except SettingsError as exc:
                entry.error, entry.failed_at = exc, self._monotonic()
                raise
            # Masked before anybody can use it.
            self.masker.learn(secret)
            entry.secret = secret
            return secret

    def version(self, reference: str) -> str:
        """Give the version that a store gave of a secret; "" where it was not fetched or has none."""
        secret = self._entries[reference].secret
        return secret.version if secret is not None else ""

    def _at_hand(self, reference: str) -> Secret | None:
        kind, _, name = reference.partition(":")
        try:
            # A pipe can be read once only, and that is the step's.
            if kind != "env" and not (kind == "file" and Path(name).expanduser().is_file()):
                return None
            parse_reference(reference)
            return self._read(reference)
        except (SettingsError, OSError, RuntimeError, ValueError):
            return None
