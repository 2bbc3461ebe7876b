"""The demo: real parts, really broken, and people who bring them back. Nothing is left running."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, assert_never

from mimrun.app.demo.failover import FailoverDemo
from mimrun.app.demo.hosts import AccessLockdownDemo, ServiceRestartDemo
from mimrun.app.demo.report import Report
from mimrun.app.demo.run import Narrator
from mimrun.app.demo.stage import Stage
from mimrun.errors import InputError, LabError
from mimrun.lab import systemd_hosts
from mimrun.settings import Settings

DemoName: TypeAlias = Literal["failover", "service-restart", "access-lockdown"]


@dataclass(frozen=True, slots=True)
class Wishes:
    """How a demo is to be played.

    Arguments:
        keep: leave the parts up at the end.
        interactive: the person at the keyboard approves, in another terminal.
        direct: leave Prefect out.
    """

    keep: bool = False
    interactive: bool = False
    direct: bool = False


def play_demo(name: DemoName, settings: Settings, narrator: Narrator, wishes: Wishes) -> Report:
    """Play a demo, and stop everything that it started, whatever happens.

    Arguments:
        settings: from `demo_settings`.

    Raises:
        InputError: this machine or this user cannot play it; the message says what can be done instead.
        LabError: a part cannot be started.
    """
    if name != "failover":
        _require_hosts(name)
    with Stage(settings, keep=wishes.keep, direct=wishes.direct) as stage:
        if stage.put_aside:
            narrator.tell(stage.put_aside)
        match name:
            case "failover":
                return FailoverDemo(stage, narrator, interactive=wishes.interactive).play()
            case "service-restart":
                return ServiceRestartDemo(stage, narrator, interactive=wishes.interactive).play()
            case "access-lockdown":
                return AccessLockdownDemo(stage, narrator, interactive=wishes.interactive).play()
            case _:
                assert_never(name)


def _require_hosts(name: str) -> None:
    try:
        systemd_hosts.require()
    except LabError as exc:
        raise InputError(
            f"the demo {name} needs hosts with a systemd of their own: {exc}."
            " `mimrun demo` plays the failover here, without root"
        ) from exc
