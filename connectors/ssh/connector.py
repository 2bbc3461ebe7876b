"""The connector: one host, one connection, and which module does which action."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar, assert_never

from connectors.ssh.actions import ACTIONS, Command, Download, Script, Service, Shell, SshAction, Upload
from connectors.ssh.settings import SshSettings
from mimrun.connector import (
    Action,
    Call,
    Connector,
    Difference,
    Effect,
    Finding,
    Outcome,
    Probed,
    Settings,
    Terminal,
    Unreachable,
    Window,
)

if TYPE_CHECKING:
    from connectors.ssh.connection import Connection
    from connectors.ssh.execution import Site
    from connectors.ssh.probing import Attempt


class Ssh(Connector[SshSettings, SshAction]):
    """Commands and files on one host, over one SSH connection that stays open."""

    name: ClassVar[str] = "ssh"
    settings_type: ClassVar[type[Settings]] = SshSettings
    actions: ClassVar[tuple[type[Action], ...]] = ACTIONS
    keywords: ClassVar[frozenset[str]] = frozenset({"become", "environment"})
    ends_in_probe: ClassVar[bool] = True
    """A probe that is told to stop ends the work that it finds, and answers what came of it."""

    def __init__(self, settings: SshSettings) -> None:
        super().__init__(settings)
        self._connection: Connection | None = None
        self._call: Call | None = None
        self._begun: dict[tuple[str, int], float] = {}

    def perform(self, action: SshAction, call: Call) -> Outcome:
        """Do the action once; connecting counts against the call's deadline."""
        self._call = call
        return super().perform(action, call)

    def probe(self, action: SshAction, call: Call) -> Probed:
        """Find out whether the action has happened; connecting counts against the call's deadline."""
        self._call = call
        return super().probe(action, call)

    def check(self, action: SshAction, call: Call) -> Difference:
        """Find out what the action would change; connecting counts against the call's deadline."""
        self._call = call
        return super().check(action, call)

    def open(self) -> None:
        """Connect and log in, unless we are.

        Raises:
            Unreachable: the host does not answer.
            Refused: its key is not trusted, or it does not let us in.
        """
        timeout, stop = self.settings.ssh_connect_timeout, None
        if self._call is not None:
            timeout, stop = min(timeout, max(self._call.left(), 0.001)), self._call.stop
        if self._connection is not None and self._connection.is_there(timeout):
            return
        self.close()
        from connectors.ssh.connection import connect  # noqa: PLC0415 - paramiko takes 0.1 s to import

        self._connection = connect(self.settings, timeout, stop)

    def close(self) -> None:
        """Let go of the host."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def open_terminal(self, window: Window) -> Terminal:
        """Log in and give a terminal with a shell on the host; `become` is left to the person."""
        self.open()
        from connectors.ssh.terminal import SshTerminal  # noqa: PLC0415 - it imports paramiko

        assert self._connection is not None
        return SshTerminal(self._connection, window)

    def _perform(self, action: SshAction, call: Call) -> Outcome:
        from connectors.ssh import execution, systemd, transfer  # noqa: PLC0415 - they import paramiko

        site = self._site(call)
        if call.effect is Effect.PROBE:
            self._begun[call.key, call.attempt] = time.monotonic()
        match action:
            case Command() | Shell():
                return execution.execute(site, action)
            case Script():
                return execution.run_script(site, action)
            case Upload():
                return transfer.upload(site, action)
            case Download():
                return transfer.download(site, action)
            case Service():
                return systemd.perform(site, action)
        assert_never(action)

    def _probe(self, action: SshAction, call: Call) -> Probed:
        from connectors.ssh import probing, systemd, transfer  # noqa: PLC0415 - they import paramiko

        site = self._site(call)
        match action:
            case Command() | Shell() | Script():
                if call.effect is not Effect.PROBE:
                    return Probed(
                        Finding.UNKNOWN, f"ssh.{action.verb} left no claim that could be asked about"
                    )
                return probing.probe_execution(site, action, self._attempt_of(call))
            case Upload():
                return transfer.probe_upload(probing.unhurried(site), action)
            case Download():
                return super()._probe(action, call)
            case Service():
                return systemd.probe(site, action, self._attempt_of(call))
        assert_never(action)

    def _attempt_of(self, call: Call) -> Attempt:
        """Say what is known about the attempt that a call asks about."""
        from connectors.ssh.probing import Attempt  # noqa: PLC0415 - it imports paramiko

        begun = self._begun.get((call.key, call.attempt))
        if begun is not None:
            return Attempt(time.monotonic() - begun, same_account=True, skew=1.0)
        named = call.become or self.settings.ansible_become or self.settings.ansible_user
        return Attempt(call.age, same_account=bool(named))

    def _check(self, action: SshAction, call: Call) -> Difference:
        from connectors.ssh import execution, systemd, transfer  # noqa: PLC0415 - they import paramiko

        site = self._site(call)
        match action:
            case Command() | Shell() | Script():
                return execution.predict(site, action)
            case Upload():
                return transfer.predict_upload(site, action)
            case Download():
                return transfer.predict_download(site, action)
            case Service():
                return systemd.predict(site, action)
        assert_never(action)

    def _site(self, call: Call) -> Site:
        from connectors.ssh.execution import Site  # noqa: PLC0415 - it imports paramiko

        if self._connection is None:
            raise Unreachable(f"{self.settings.where}: not connected")
        become = call.become
        if become is None and self.settings.ansible_become:
            become = self.settings.ansible_become_user
        # As Ansible: who logs in as that user already needs no sudo.
        return Site(self._connection, call, None if become == self.settings.user else become)
