"""The demo's stories on hosts with a systemd of their own: a stuck service, and accounts that must go."""

from __future__ import annotations

import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mimrun.app.demo.evidence import prove
from mimrun.app.demo.report import Held, Report, timeline
from mimrun.app.demo.run import DemoRun, Narrator, launch
from mimrun.app.demo.stage import RESPONDER, Stage
from mimrun.app.home import Home, open_home
from mimrun.app.plans import prepare_plan
from mimrun.app.records import verify_log
from mimrun.app.undo import plan_undo
from mimrun.lab import inventory, keeper, patience
from mimrun.lab.host_root import ACCOUNTS, UNIT
from mimrun.lab.systemd_hosts import SystemdHost, SystemdHosts
from mimrun.log.moment import utc_now
from mimrun.run.record.transitions import RunStatus

LOGIN_S: Final = 20.0
"""Seconds that one login may take."""


@dataclass(slots=True)
class HostsDemo:
    """What the stories on systemd hosts have in common.

    Arguments:
        stage: where, entered.
        narrator: tells it.
        interactive: the person at the keyboard approves, in another terminal.
        clock: the present moment, UTC.
    """

    stage: Stage
    narrator: Narrator
    interactive: bool = False
    clock: Callable[[], datetime] = utc_now

    @contextmanager
    def _hosts(self, *names: str) -> Iterator[SystemdHosts]:
        """Give a set of hosts, not started yet, that is stopped at the end unless it is to be kept."""
        lab = SystemdHosts(self.stage.folder / "hosts", names)
        try:
            yield lab
            if self.stage.keep:
                keeper.release(lab.folder)
                self.stage.note_kept()
        finally:
            if not self.stage.kept:
                lab.stop()

    def _start(self, lab: SystemdHosts, about: str) -> str:
        """Boot the hosts; gives the inventory's path."""
        self.narrator.scene("Real hosts, in a network without a way out")
        with self.narrator.busy("booting systemd on every host"):
            hosts = lab.start()
        names = ", ".join(host.name for host in hosts)
        self.narrator.tell(
            f"{names}: each with a systemd, an sshd and accounts of its own, in a namespace of this machine. {about}"
        )
        path = self.stage.folder / "inventory.yaml"
        path.write_text(inventory.hosts_inventory(hosts), "utf-8")
        if self.stage.engine.launcher is not None:
            with self.narrator.busy("waking Prefect, which will drive the run"):
                self.stage.engine.wait()
        if self.stage.engine.why_not:
            self.narrator.tell(
                f"Prefect is left out: {self.stage.engine.why_not}. The run is executed directly."
            )
        return str(path)

    def _run(self, home: Home, runbook: str, inputs: Sequence[str], path: str) -> DemoRun:
        """Run a runbook to its end, through its gate."""
        where = f"--home {home.settings.home}"
        self.narrator.scene("The responder reads the plan and says go")
        self.narrator.command(RESPONDER, f"mimrun run {runbook} {' '.join(inputs)} -i {path} {where}")
        plan = prepare_plan(home, runbook, inputs, [self.stage.folder / "inventory.yaml"])
        self.narrator.plan(plan)
        run = launch(home, self.stage, self.narrator, plan)
        run.go_on()
        run.pass_gate(interactive=self.interactive)
        return run

    def _report(
        self, name: str, begin: datetime, runs: Sequence[DemoRun], held: Iterable[Held], summary: str
    ) -> Report:
        first, where = runs[0], f"--home {self.stage.settings.home}"
        evidence = prove(first.home, first.state.incident, self.narrator)
        checked = verify_log(self.stage.settings)
        moments = [moment for run in runs for moment in timeline(run.plan, run.entries())]
        ended = [
            Held(
                f"{run.name} has {run.state.status}" + (f": {run.state.reason}" if run.state.reason else ""),
                run.state.status is RunStatus.SUCCEEDED,
            )
            for run in runs
        ]
        log = Held(f"the log verifies: {checked.size} entries, root {checked.root[:16]}", checked.ok)
        stop = [(f"mimrun demo stop {where}", "stop what was kept up")] if self.stage.keep else []
        return Report(
            demo=name,
            home=str(self.stage.settings.home),
            run=first.name,
            incident=first.state.incident,
            mode=first.state.mode,
            begin=begin,
            timeline=moments,
            held=(*ended, *held, log, *evidence.held()),
            figures={
                "log": {"size": checked.size, "root": checked.root, "ok": checked.ok},
                "evidence": evidence.as_json(),
                "summary": summary,
            },
            next=(
                (f"mimrun status {first.name} {where}", "each step of the run"),
                (f"mimrun log show {first.name} {where}", "what was done, entry by entry"),
                (f"mimrun log verify {where}", "that nobody has changed it"),
                (evidence.command, "the same of the incident, without mimrun"),
                *stop,
            ),
        )


@dataclass(slots=True)
class ServiceRestartDemo(HostsDemo):
    """Three web servers run and answer 503; they are restarted one first, then the others."""

    def play(self) -> Report:
        """Play it from the first host to the last word.

        Raises:
            LabError: a host cannot be started; everything is stopped again.
        """
        with self._hosts("web1", "web2", "web3") as lab:
            path = self._start(lab, "Each serves a page.")
            self.narrator.scene("The service falls ill")
            begin = self.clock()
            for host in lab.hosts:
                lab.break_service(host.name)
            ill = _all_answer(lab.hosts, 503)
            self.narrator.tell(f"The processes run, and every page answers {_words(_answers(lab.hosts))}.")
            with open_home(self.stage.settings) as home:
                run = self._run(home, "service-restart", ["group=web", f"unit={UNIT}"], path)
                well = _all_answer(lab.hosts, 200)
                held = [
                    Held("every host answered 503 before the run", ill),
                    Held(f"every host answers 200 now: {_words(_answers(lab.hosts))}", well),
                ]
                return self._report(
                    "service-restart", begin, [run], held, "the service is well on 3 of 3 hosts"
                )


@dataclass(slots=True)
class AccessLockdownDemo(HostsDemo):
    """A contractor's access is taken away on two hosts, and given back exactly as it was."""

    def play(self) -> Report:
        """Play it from the first host to the last word.

        Raises:
            LabError: a host cannot be started; everything is stopped again.
        """
        account = ACCOUNTS[-1]
        with self._hosts("app1", "app2") as lab:
            path = self._start(lab, f"{account} may log in on both with a key.")
            self.narrator.scene(f"{account} is logged in")
            begin = self.clock()
            before = [_state(lab, host, account) for host in lab.hosts]
            could = [_can_log_in(host, account) for host in lab.hosts]
            sessions = [_open_session(host, account) for host in lab.hosts]
            self.narrator.tell(f"A session of {account} is open on {_names(lab.hosts)}.")
            try:
                with open_home(self.stage.settings) as home:
                    run = self._run(
                        home, "access-lockdown", ["targets=web", f'accounts:=["{account}"]'], path
                    )
                    ended = [_has_ended(session) for session in sessions]
                    refused = [not _can_log_in(host, account) for host in lab.hosts]
                    self._door_is_shut(ended, refused)
                    undo = self._undo(home, run)
                    after = [_state(lab, host, account) for host in lab.hosts]
                    again = [_can_log_in(host, account) for host in lab.hosts]
                    held = [
                        Held("the account could log in before, on every host", all(could)),
                        Held("its open sessions were ended", all(ended)),
                        Held("its logins were refused after the lockdown, key and all", all(refused)),
                        Held(
                            "after the undo, lock, expiry and keys are exactly what they were",
                            before == after,
                        ),
                        Held("after the undo it can log in again", all(again)),
                    ]
                    summary = (
                        f"the account {account} was locked out of {len(lab.hosts)} hosts, and let in again"
                    )
                    return self._report("access-lockdown", begin, [run, undo], held, summary)
            finally:
                for session in sessions:
                    session.kill()
                    session.wait()

    def _door_is_shut(self, ended: Sequence[bool], refused: Sequence[bool]) -> None:
        self.narrator.scene("The door is shut")
        self.narrator.tell(
            f"Sessions ended: {_words(ended)}. Logins with the key refused: {_words(refused)}."
        )

    def _undo(self, home: Home, run: DemoRun) -> DemoRun:
        self.narrator.scene("False alarm: the responder takes it back")
        self.narrator.command(RESPONDER, f"mimrun undo {run.name} --home {home.settings.home}")
        plan = plan_undo(home, run.name)
        self.narrator.plan(plan)
        undo = launch(home, self.stage, self.narrator, plan, run.state.incident)
        undo.go_on()
        undo.pass_gate(interactive=False)
        return undo


def _answers(hosts: Iterable[SystemdHost]) -> list[int]:
    return [_answer(host.web_url) for host in hosts]


def _all_answer(hosts: Sequence[SystemdHost], status: int) -> bool:
    return patience.came_true(lambda: set(_answers(hosts)) == {status}, seconds=5)


def _answer(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=3) as answer:  # noqa: S310 - a loopback address of the lab
            return int(answer.status)
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code
    except OSError:
        return 0


def _can_log_in(host: SystemdHost, account: str) -> bool:
    argv = host.login(account).command("true")
    return subprocess.run(argv, capture_output=True, timeout=LOGIN_S, check=False).returncode == 0


def _open_session(host: SystemdHost, account: str) -> subprocess.Popen[bytes]:
    """Open a session that stays, and wait until it is really there."""
    session = subprocess.Popen(
        host.login(account).command("echo here; exec sleep 600"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert session.stdout is not None
    with session.stdout as said:
        said.readline()
    return session


def _has_ended(session: subprocess.Popen[bytes]) -> bool:
    return patience.came_true(lambda: session.poll() is not None, seconds=5)


def _state(lab: SystemdHosts, host: SystemdHost, account: str) -> str:
    """Give what a lockdown changes of an account on a host: its shadow line, and its keys with mode, owner and time."""
    keys = f"/home/{account}/.ssh"
    return "".join(
        (
            lab.run(host.name, "sudo", "getent", "shadow", account),
            lab.run(host.name, "sudo", "find", keys, "-type", "f", "-printf", "'%p %m %u %g %s %T@\\n'"),
            lab.run(host.name, "sudo", "sha256sum", f"{keys}/authorized_keys"),
        )
    )


def _names(hosts: Iterable[SystemdHost]) -> str:
    return ", ".join(host.name for host in hosts)


def _words(values: Iterable[object]) -> str:
    return ", ".join("yes" if v is True else "no" if v is False else str(v) for v in values)
