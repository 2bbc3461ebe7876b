"""`ssh.service`: a systemd unit, asked by `systemctl show` and ordered by `systemctl`, argument by argument."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, assert_never

from connectors.ssh.actions import Service
from connectors.ssh.claim import Record
from connectors.ssh.command_line import Obstacle, Remote
from connectors.ssh.execution import SHOWN, Site, exit_code, judge_unstarted, run_guarded
from connectors.ssh.probing import Attempt, look, unhurried, unsettled
from connectors.ssh.running import Cut
from mimrun.connector import (
    ConnectorError,
    Difference,
    Effect,
    Failed,
    Finding,
    Json,
    LostAnswer,
    Ok,
    Outcome,
    Probed,
    Refused,
    Unknown,
)

Order = Literal["enable", "disable", "start", "stop", "restart", "reload"]
SHOWN_PROPERTIES: Final = ("ActiveState", "SubState", "UnitFileState", "MainPID", "InvocationID")
_ASKED: Final = (*SHOWN_PROPERTIES, "LoadState", "Type", "Result", "CanReload", "Job")
_UP: Final = ("active", "reloading", "refreshing")
_ENABLED: Final = ("enabled", "enabled-runtime")
_NOT_FOR_BOOT: Final = ("static", "generated", "transient", "indirect", "alias", "masked", "")
_TWO: Final = 'systemctl "$1" -- "$3" && systemctl "$2" -- "$3"'
_STATES: Final[dict[str, Order]] = {
    "started": "start",
    "stopped": "stop",
    "restarted": "restart",
    "reloaded": "reload",
}


@dataclass(frozen=True, slots=True)
class Found:
    """What systemd says about a unit, by the names of its properties (systemctl(1), `show`)."""

    properties: dict[str, str]

    def __getitem__(self, name: str) -> str:
        return self.properties.get(name, "")

    @property
    def up(self) -> bool:
        """Whether it is running, or doing again what makes it run."""
        return self["ActiveState"] in _UP

    @property
    def busy(self) -> bool:
        """Whether systemd has an order for it that is not finished."""
        return self["Job"] not in ("", "0")

    @property
    def enabled(self) -> bool:
        """Whether it is started when the host boots."""
        return self["UnitFileState"] in _ENABLED

    def data(self) -> dict[str, Json]:
        """The properties for the log and for later steps."""
        shown: dict[str, Json] = {name: self[name] for name in SHOWN_PROPERTIES}
        return shown | {"MainPID": int(self["MainPID"]) if self["MainPID"].isdecimal() else 0}

    def words(self) -> str:
        """The state in a few words."""
        main = f", process {self['MainPID']}" if self["MainPID"] not in ("", "0") else ""
        return f"{self['ActiveState']} ({self['SubState']}){main}, {self['UnitFileState'] or 'no unit file'}"


def perform(site: Site, action: Service) -> Outcome:
    """Bring the unit into the state that is asked for.

    Raises:
        Refused: there is no such unit, it cannot be brought there, or no systemctl; nothing has been done.
        LostAnswer: it was ordered, and what came of it cannot be looked at.
    """
    try:
        before = _show(site, action.unit)
    except LostAnswer as exc:
        raise Refused(f"{site.where}: nothing was done to {action.unit}: {exc}") from exc
    _require(site, action, before)
    orders = _orders(action, before)
    if not orders:
        return Ok(changed=False, data=_data(action, before, before))
    result = run_guarded(site, Remote(_argv(orders, action.unit)), note=before["InvocationID"] or "-")
    if isinstance(result, Cut):
        return Unknown(result.reason, {"unit": action.unit, "before": before.data()})
    if result.header.obstacle is Obstacle.COMMAND:
        raise Refused(f"{site.where}: command not found: systemctl")
    if not result.header.started:
        return judge_unstarted(site, result)
    try:
        after = _show(site, action.unit)
    except ConnectorError as exc:
        raise LostAnswer(f"{action.unit}: {' and '.join(orders)} was done, but not looked at: {exc}") from exc
    data = {**_data(action, before, after), "rc": result.status}
    if result.status != 0:
        lines = site.call.output.stderr.text().strip().splitlines()
        why = f": {lines[0].strip()[:SHOWN]}" if lines else ""
        said = f"systemctl {' and '.join(orders)} {action.unit}: {exit_code(result.status)}{why}"
        return Failed(f"{said}; it is {after.words()}", clean=False, data=data)
    if not _is_as_wanted(action, after):
        return Failed(
            f"{action.unit} was to be {_wish(action)}, and is {after.words()}", clean=False, data=data
        )
    acts = "restart" in orders or "reload" in orders
    return Ok(changed=acts or before.data() != after.data(), data=data)


def predict(site: Site, action: Service) -> Difference:
    """Say what would change, from the live state."""
    found = _show(site, action.unit)
    _require(site, action, found)
    orders = _orders(action, found)
    if not orders:
        return Difference(changes=False, detail=f"{action.unit} is {found.words()}, as wanted")
    return Difference(
        changes=True,
        detail=f"{action.unit} is {found.words()}; systemctl {' and '.join(orders)} would follow",
    )


def probe(site: Site, action: Service, attempt: Attempt) -> Probed:
    """Find out whether the unit was brought into its state: by the claim where there is one, and by looking."""
    if site.call.effect is not Effect.PROBE:
        found = _show(unhurried(site), action.unit)
        if not _orders(action, found) and not found.busy:
            return Probed(Finding.APPLIED, f"{action.unit} is {found.words()}", _state(action, found))
        return Probed(Finding.UNKNOWN, f"{action.unit} is {found.words()}, and an order may be on its way")
    claim = site.claim()
    record = look(site, claim)
    if record.state not in ("ended", "broken_off"):
        return unsettled(site, claim, record, attempt)
    found = _show(unhurried(site), action.unit)
    if record.state == "ended" and record.status <= 128:
        return _settled(site, action, record, found)
    # systemctl was ended before it heard of the end; the order is systemd's, which may have gone on.
    note = "" if record.note == "-" else record.note
    new = found["InvocationID"] not in ("", note)
    if action.state == "restarted" and new and not found.busy and _is_as_wanted(action, found):
        return Probed(
            Finding.APPLIED, f"{action.unit} was started anew: it is {found.words()}", _state(action, found)
        )
    busy = "systemd is still at work on it" if found.busy else f"it is {found.words()}"
    return Probed(
        Finding.UNKNOWN,
        f"{site.where}: systemctl was begun and did not come to its end; {action.unit}: {busy}",
    )


def _settled(site: Site, action: Service, record: Record, found: Found) -> Probed:
    """Judge by the exit status that is on record."""
    data = {**_state(action, found), "rc": record.status}
    reason = (
        f"{site.where}: systemctl ended with {exit_code(record.status)}; {action.unit} is {found.words()}"
    )
    fine = record.status == 0 and _is_as_wanted(action, found)
    outcome = Ok(changed=True, data=data) if fine else Failed(reason, clean=False, data=data)
    return Probed(Finding.APPLIED, reason, data, outcome=outcome)


def _show(site: Site, unit: str) -> Found:
    """Ask systemd about a unit.

    Raises:
        Refused: there is no systemctl, or no systemd behind it.
        LostAnswer, Unreachable: the host does not say.
    """
    answer = site.ask(["systemctl", "show", "--property=" + ",".join(_ASKED), "--", unit])
    lines = answer.stdout.decode("utf-8", "replace").splitlines()
    found = Found(dict(line.split("=", 1) for line in lines if "=" in line))
    if answer.status != 0 or not found["ActiveState"]:
        said = answer.stderr[-SHOWN:] or f"exit code {answer.status}"
        raise Refused(f"{site.where}: systemd does not answer about {unit}: {said}")
    return found


def _require(site: Site, action: Service, found: Found) -> None:
    """Refuse what systemd would refuse, before anything is done."""
    unit, where = action.unit, site.where
    if found["LoadState"] == "not-found" and not (found.up or action.state == "stopped"):
        raise Refused(f"{where}: there is no unit {unit}")
    if found["LoadState"] == "masked" and action.state in ("started", "restarted"):
        raise Refused(f"{where}: {unit} is masked; systemctl unmask lets it be started")
    if action.state == "reloaded" and not found.up:
        raise Refused(f"{where}: {unit} cannot be reloaded: it is {found.words()}")
    if action.state == "reloaded" and found["CanReload"] != "yes":
        raise Refused(f"{where}: {unit} does not know how to reload; restart it")
    if action.enabled and found["UnitFileState"] in _NOT_FOR_BOOT:
        kind = found["UnitFileState"] or "without a unit file"
        raise Refused(f"{where}: {unit} cannot be enabled: it is {kind}")


def _orders(action: Service, found: Found) -> tuple[Order, ...]:
    """Give what systemctl has to be told, at most one word about the boot and one about now."""
    orders: list[Order] = []
    if action.enabled is not None and action.enabled is not found.enabled:
        orders.append("enable" if action.enabled else "disable")
    match action.state:
        case None:
            pass
        case "started" if found.up:
            pass
        case "stopped" if found["ActiveState"] in ("inactive", "failed"):
            pass
        case "started" | "stopped" | "restarted" | "reloaded" as state:
            orders.append(_STATES[state])
        case _:
            assert_never(action.state)
    return tuple(orders)


def _argv(orders: tuple[Order, ...], unit: str) -> list[str]:
    if len(orders) == 1:
        return ["systemctl", orders[0], "--", unit]
    return ["/bin/sh", "-c", _TWO, "mimrun", *orders, unit]


def _is_as_wanted(action: Service, found: Found) -> bool:
    """Whether the unit is in the state that was asked for; a job that is done needs not go on running."""
    if action.enabled is not None and action.enabled is not found.enabled:
        return False
    if action.state is None:
        return True
    if action.state == "stopped":
        return found["ActiveState"] in ("inactive", "failed")
    finished = (
        found["Type"] == "oneshot" and found["ActiveState"] == "inactive" and found["Result"] == "success"
    )
    return found.up or finished


def _wish(action: Service) -> str:
    return action.summary().partition(": ")[2]


def _state(action: Service, found: Found) -> dict[str, Json]:
    return {"unit": action.unit, "after": found.data()}


def _data(action: Service, before: Found, after: Found) -> dict[str, Json]:
    return {"unit": action.unit, "before": before.data(), "after": after.data()}
