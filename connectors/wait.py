"""Wait: let time pass, or wait until a port is open or closed. Changes nothing anywhere."""

from __future__ import annotations

import errno
import os
import re
import select
import socket
import time
from collections.abc import Callable
from typing import Final, Literal, Self, TypeAlias, assert_never

from pydantic import ConfigDict, model_validator

from mimrun.connector import (
    Action,
    Call,
    Connector,
    Difference,
    Effect,
    Failed,
    Field,
    Finding,
    Ok,
    Outcome,
    Probed,
    Settings,
)

UNITS: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}
PAUSE: Final = 0.2
"""Seconds between two looks at a port."""
TICK: Final = 0.05
PATIENCE: Final = 2.0
"""Seconds that one look at a port may take."""


class WaitSettings(Settings):
    """Where the target is."""

    inventory_hostname: str = ""
    ansible_host: str = ""


class Duration(Action):
    """Let time pass: for a cache to empty, for clients to notice."""

    # Dumps give `for` again, so that what was dumped can be read back.
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)
    verb = "duration"
    effect = Effect.READ
    seconds: int | None = Field(None, ge=0, le=86_400, description="How many seconds.")
    for_: str | None = Field(
        None, alias="for", pattern=r"^(\d+(ms|s|m|h))+$", description="The same with units: 500ms, 5s, 1m30s."
    )

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.seconds is None) == (self.for_ is None):
            raise ValueError("give one of seconds and for")
        return self

    def milliseconds(self) -> int:
        """Give the length in milliseconds."""
        if self.for_ is None:
            return 1000 * (self.seconds or 0)
        return sum(int(n) * UNITS[unit] for n, unit in re.findall(r"(\d+)(ms|[smh])", self.for_))


class Port(Action):
    """Wait until a TCP port accepts connections, or until it refuses them."""

    verb = "port"
    effect = Effect.READ
    port: int = Field(ge=1, le=65535, description="The TCP port.")
    host: str = Field("", description="Where it is; the target's ansible_host or name without it.")
    state: Literal["open", "closed"] = Field("open", description="What to wait for.")
    timeout: int = Field(60, ge=0, le=86_400, description="Seconds until waiting has failed.")
    accept_silence: bool = Field(
        default=False,
        description="For closed: no answer counts too. A host that is cut off is silent and may well run.",
    )


WaitAction: TypeAlias = Duration | Port


class Wait(Connector[WaitSettings, WaitAction]):
    """The passing of time, as seen from the machine that runs mimrun."""

    name = "wait"
    settings_type = WaitSettings
    actions = (Duration, Port)

    def open(self) -> None:
        """Do nothing: there is nothing to connect to."""

    def close(self) -> None:
        """Do nothing: there is no connection."""

    def _perform(self, action: WaitAction, call: Call) -> Outcome:
        begun = time.monotonic()
        match action:
            case Duration():
                length = action.milliseconds()
                reason = _until(lambda: _passed(begun + length / 1000), length / 1000, length / 1000, call)
            case Port():
                host = action.host or self.settings.ansible_host or self.settings.inventory_hostname
                reason = _until(lambda: _looked(action, host, call), action.timeout, PAUSE, call)
            case _:
                assert_never(action)
        waited = {"waited_ms": int((time.monotonic() - begun) * 1000)}
        # Nothing was changed, so every end of waiting is a clean one.
        return Failed(reason, clean=True, data=waited) if reason else Ok(changed=False, data=waited)

    def _probe(self, action: WaitAction, call: Call) -> Probed:
        return Probed(Finding.NOT_APPLIED, "waiting leaves nothing behind")

    def _check(self, action: WaitAction, call: Call) -> Difference:
        return Difference(changes=False, detail="waiting changes nothing")


def _until(look: Callable[[], str], seconds: float, pause: float, call: Call) -> str:
    """Look until `look` says ""; give "" then, else why waiting was over."""
    end = time.monotonic() + seconds
    while True:
        answer = "nothing was looked at" if call.stop.is_set() else look()
        if not answer:
            return ""
        if call.stop.is_set():
            return f"stopped by a person: {answer}"
        if call.left() == 0:
            return f"the step's deadline came: {answer}"
        if time.monotonic() >= end:
            return f"after {seconds:g} s {answer}"
        call.stop.wait(min(pause, call.left(), max(end - time.monotonic(), 0.0)))


def _passed(end: float) -> str:
    left = end - time.monotonic()
    return f"{left:.1f} s were left to wait" if left > 0 else ""


def _looked(action: Port, host: str, call: Call) -> str:
    """Give "" when the port is as wanted, else how it is."""
    where = f"{host}:{action.port}"
    try:
        _connect(host, action.port, call)
        return "" if action.state == "open" else f"{where} is open"
    except ConnectionRefusedError:
        return "" if action.state == "closed" else f"{where} refuses connections"
    except socket.gaierror as exc:
        return f"{host!r} has no address: {exc}"
    except OSError as exc:
        silent = action.state == "closed" and action.accept_silence
        return "" if silent else f"{where} does not answer: {exc}"


def _connect(host: str, port: int, call: Call) -> None:
    """Connect and hang up, as soon as one of the name's addresses accepts; a stop ends it at once.

    Raises:
        OSError: none did; what the last one said.
    """
    failure = OSError(f"{host} has no address")
    until = time.monotonic() + min(PATIENCE, max(call.left(), 0.05))
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        with socket.socket(family, kind, protocol) as conn:
            conn.settimeout(0)
            code = conn.connect_ex(address)
            while code == errno.EINPROGRESS and time.monotonic() < until and not call.stop.is_set():
                if select.select([], [conn], [], TICK)[1]:
                    code = conn.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    break
            if code == 0:
                return
            failure = (
                OSError(code, os.strerror(code)) if code != errno.EINPROGRESS else TimeoutError("timed out")
            )
    raise failure
