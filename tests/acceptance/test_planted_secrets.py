"""Secrets planted in every place and every encoding, through every connector: none is to be found anywhere.

Each step has a secret of its own, in a place of its own. Blobs are encrypted on disk, so that every byte there is
looked at as it lies and, by an export with blobs, as it reads.
"""

from __future__ import annotations

import http.server
import json
import re
import shutil
import sys
import tempfile
import threading
import urllib.parse
import zipfile
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from builders.canaries import Canary, canary, leaks, needles
from builders.collector import Collector, collecting
from builders.commands import Desk, Said
from builders.log_places import Schema, a_schema, a_server
from builders.plans import a_plan, action
from builders.runs import Bench
from builders.vault import Vault, running_vault
from keyrings.alt.file import PlaintextKeyring

from flows.template import lay_template
from mimrun.lab.haproxy import HaProxy, Server
from mimrun.lab.postgres_server import CLIENT, Instance
from mimrun.lab.sshd import SshdHosts, SshHost
from mimrun.log.postgres.schema import GRANTS
from mimrun.run.executor import Executor

FORMATS = ("jsonl", "csv", "ocsf", "cloudevents", "syslog")

# Programs that say a secret, given as their first argument, in another form.
SAY = "import sys; s = sys.argv[1]; "
FORMS = {
    "base64": "import base64; print(base64.b64encode(s.encode()).decode())",
    "base64 one off": "import base64; print(base64.b64encode(b'x' + s.encode()).decode())",
    "base64 two off": "import base64; print(base64.b64encode(b'xy' + s.encode() + b'z').decode())",
    "base64 for urls": "import base64; print(base64.urlsafe_b64encode(s.encode()).decode())",
    "base64 of utf-16": "import base64; print(base64.b64encode(s.encode('utf-16-le')).decode())",
    "url": "import urllib.parse as u; print(u.quote(s, safe=''), u.quote_plus(s), u.quote(s))",
    "url twice": "import urllib.parse as u; print(u.quote(u.quote(s, safe=''), safe=''))",
    "hex": "print(s.encode().hex())",
    "HEX": "print(s.encode().hex().upper(), s.encode().hex(':'))",
    "json": "import json; print(json.dumps({'a': s}))",
    "json twice": "import json; print(json.dumps(json.dumps({'a': s})))",
    "utf-16": "sys.stdout.buffer.write(s.encode('utf-16-le'))",
    "html": "import html; print(html.escape(s))",
    "repr": "print(repr(s), repr(s.encode()))",
    "shell": "import shlex; print(shlex.quote('-u' + s))",
    "chunks": "import time; o = sys.stdout; o.write(s[:9]); o.flush(); time.sleep(0.1); o.write(s[9:]); o.flush()",
    "bytes": "import time; [(sys.stdout.write(c), sys.stdout.flush(), time.sleep(0.002)) for c in s]",
    "both streams": "print(s); print(s, file=sys.stderr)",
    "far inside": "print('x' * 262140 + s + 'y' * 262140)",
    "colours": "print('\\033[31m' + s + '\\033[0m\\r\\n')",
}
TRACEBACK = SAY + "raise ValueError('cannot use ' + s)"


class Plot:
    """Gives each step a secret of its own, and remembers them all."""

    def __init__(self) -> None:
        self.canaries: list[Canary] = []
        self.references: dict[str, str] = {}
        self.steps: list[dict[str, Any]] = []

    def plant(self, reference: str = "env:{name}", *, tame: bool = False) -> str:
        """Give the template of a new secret that comes from a place; a tame one has nothing to quote."""
        one = canary(len(self.canaries) + 1)
        one = replace(one, value=one.core) if tame else one
        self.canaries.append(one)
        self.references[one.name] = reference.format(name=one.name)
        return f"{{{{ {one.name} }}}}"

    def step(self, name: str, verb: str, args: dict[str, Any], hosts: str = "localhost", **more: Any) -> None:
        """Add a step that may fail."""
        step = {"name": name, "hosts": hosts, verb: args, "ignore_errors": True, **more}
        self.steps.append({key: value for key, value in step.items() if value is not None})

    def book(self) -> str:
        """Give the steps as YAML, which JSON is."""
        return "".join(f"  - {json.dumps(step)}\n" for step in self.steps)

    def inputs(self) -> str:
        return "inputs:\n" + "".join(f"  {one.name}: {{type: secret}}\n" for one in self.canaries)

    def given(self) -> list[str]:
        return [f"{name}={reference}" for name, reference in self.references.items()]

    def environ(self) -> dict[str, str]:
        return {one.name: one.value for one in self.canaries if self.references[one.name].startswith("env:")}


class _Echo(BaseHTTPRequestHandler):
    """Says back everything that it was told, in several forms, and fails where it is asked to."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        token = self.headers.get("X-Token", "")
        told = {"path": self.path, "headers": dict(self.headers), "body": body.decode(), "token": token}
        told["packed"] = b64encode(body).decode()
        told["packed header"] = b64encode(json.dumps({"a": token}).encode()).decode()
        is_form = "form" in self.headers.get("Content-Type", "")
        told["plain"] = urllib.parse.unquote(self.path)
        told["form"] = urllib.parse.parse_qs(body.decode()) if is_form else {}
        answer = json.dumps(told).encode()
        self.send_response(500 if "fail" in self.path else 302 if "go" in self.path else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Location", f"/elsewhere?{self.path}")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_PUT = do_POST

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@pytest.fixture
def echo() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def database() -> Iterator[Instance]:
    with a_server("127.0.57") as server:
        yield server


@pytest.fixture(scope="module")
def web1() -> Iterator[SshHost]:
    folder = Path(tempfile.mkdtemp(prefix="mimrun-sshd-"))
    folder.chmod(0o711)
    with SshdHosts(folder / "hosts", ["web1"], net="127.0.58") as hosts:
        yield hosts.host("web1")
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def proxy() -> Iterator[HaProxy]:
    folder = Path(tempfile.mkdtemp(prefix="mimrun-haproxy-"))
    folder.chmod(0o711)
    with HaProxy(folder / "proxy", (Server("one", "127.0.0.1", 9),), net="127.0.59") as running:
        yield running
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    with running_vault(tmp_path_factory.mktemp("vault")) as running:
        yield running


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


@pytest.fixture(params=["sqlite", "postgres"])
def desk(tmp_path: Path, request: pytest.FixtureRequest, database: Instance) -> Iterator[Desk]:
    made = Desk(tmp_path)
    (tmp_path / "tmp").mkdir()
    made.env["TMPDIR"] = str(tmp_path / "tmp")
    if request.param == "sqlite":
        yield made
        return
    (made.home / "log.db").unlink()
    with a_schema(database) as schema:
        _move(made, schema)
        yield made


def _move(desk: Desk, schema: Schema) -> None:
    """Let the desk's log be in a schema of the database."""
    as_owner = {"MIMRUN_STORE": f"{schema.owner.url}?schema={schema.name}"}
    as_owner["MIMRUN_STORE_PASSWORD"] = schema.owner.password
    said = desk("init", **as_owner)
    assert said.code == 0, said.err
    schema.execute(GRANTS.format(schema=schema.name, role=CLIENT))
    desk.env |= {
        "MIMRUN_STORE": f"{schema.database.url}?schema={schema.name}",
        "MIMRUN_STORE_PASSWORD": schema.database.password,
    }


def plant_local(plot: Plot, aside: Path) -> None:
    """Through programs on this machine: every form of what they say, every way in, every way to fail."""
    read = {"changed": False}

    def run(name: str, argv: list[str], **more: Any) -> None:
        plot.step(name, "local.command", {"argv": argv, **read}, **more)

    for form, code in FORMS.items():
        run(f"Says it as {form}", [sys.executable, "-c", SAY + code, plot.plant()])
    plot.step("Standard input", "local.command", {"argv": ["cat"], "stdin": plot.plant(), **read})
    run("Environment", ["env", f"GIVEN={plot.plant()}", "printenv", "GIVEN"])
    plot.step(
        "Shell", "local.shell", {"cmd": f"set -x; echo {plot.plant()[:-3]} | quote }}}} | rev | rev", **read}
    )
    run("Exit status and words", ["sh", "-c", 'echo "refused: $1" >&2; exit 3', "sh", plot.plant()])
    run("Traceback", [sys.executable, "-c", TRACEBACK, plot.plant()])
    run("A program that is not there", [f"/nowhere/{plot.plant()}"])
    run("A folder that is not there", ["true"])
    plot.steps[-1]["local.command"]["chdir"] = f"/nowhere/{plot.plant()}"
    run("No answer in time", ["sh", "-c", "echo $1; sleep 60", "sh", plot.plant()], timeout="1s")
    said = {"register": "said", "expect": "said.stdout == 'other'"}
    run("Not as expected", ["echo", plot.plant()], **said)
    run("Registered", ["printf", "%s", plot.plant()], register="kept")
    run("And used later", ["echo", "{{ kept.stdout }}"])
    capture = {"local.command": {"argv": ["echo", plot.plant()], **read}}
    run(
        "State before",
        ["true"],
        capture=capture,
        undo={"local.command": {"argv": ["echo", "{{ captured.stdout }}"]}},
    )
    plot.steps[-1]["local.command"]["changed"] = True
    plot.step("A file's content", "local.copy", {"content": plot.plant(), "dest": str(aside / "copied")})
    plot.step("A file that cannot be", "local.copy", {"content": plot.plant(), "dest": "/nowhere/at/all"})
    plot.step("A script", "local.script", {"content": "echo $1; echo $1 >&2", "args": [plot.plant()], **read})
    verify = {"local.command": {"argv": ["echo", plot.plant()], **read}, "expect": "result.rc == 0"}
    undo = {"local.command": {"argv": ["sh", "-c", "echo back $1", "sh", plot.plant()]}}
    run("Verified and undone", ["true"], verify=verify, undo=undo)
    plot.steps[-1]["local.command"]["changed"] = True
    plot.step(
        "A loop", "local.command", {"argv": ["echo", "{{ item }}", plot.plant()], **read}, loop=["a", "b"]
    )


def plant_ssh(plot: Plot) -> None:
    """Through a real SSH server."""
    for name, argv in (
        ("SSH says it", ["echo", plot.plant()]),
        (
            "SSH packs it",
            [
                "sh",
                "-c",
                "printf %s $1 | base64 -w0; printf %s $1 | od -An -tx1 | tr -d ' \\n'",
                "sh",
                plot.plant(),
            ],
        ),
        ("SSH fails with it", ["sh", "-c", "echo $1 >&2; exit 4", "sh", plot.plant()]),
        ("SSH has no such program", [f"/nowhere/{plot.plant()}"]),
    ):
        plot.step(name, "ssh.command", {"argv": argv}, "web")
    plot.step("SSH input", "ssh.command", {"argv": ["cat"], "stdin": plot.plant()}, "web")
    plot.step("SSH environment", "ssh.command", {"argv": ["env", f"GIVEN={plot.plant()}", "env"]}, "web")
    plot.step("SSH shell", "ssh.shell", {"cmd": f"set -x; echo {plot.plant()[:-3]} | quote }}}}"}, "web")
    plot.step("SSH upload", "ssh.upload", {"content": plot.plant(), "dest": "/tmp/mimrun-canary"}, "web")
    plot.step("SSH upload fails", "ssh.upload", {"content": "x", "dest": f"/nowhere/{plot.plant()}"}, "web")
    plot.step("SSH cleans up", "ssh.command", {"argv": ["rm", "-f", "/tmp/mimrun-canary"]}, "web")


def plant_postgres(plot: Plot) -> None:
    """Through a real PostgreSQL server: as a parameter, in an answer, and in what the server complains about."""

    def ask(name: str, sql: str, **params: Any) -> None:
        plot.step(name, "postgres.query", {"sql": sql, "params": params}, "db")

    ask(
        "SQL parameter",
        "select %(v)s::text as it, encode(convert_to(%(v)s, 'utf8'), 'base64') as packed",
        v=plot.plant(),
    )
    ask("SQL error", "select %(v)s::integer", v=plot.plant())
    ask("SQL as JSON", "select jsonb_build_object('a', %(v)s::text) as it", v=plot.plant())
    args = {"sql": f"select 1 from no_such_{plot.plant()}"}
    plot.step("SQL text", "postgres.query", args, "db")
    args = {"sql": "select %(v)s::json", "params": {"v": plot.plant()}}
    plot.step("SQL error in a part", "postgres.execute", args, "db")
    plot.step("SQL login fails", "postgres.query", {"sql": "select 1"}, "locked")


def plant_http(plot: Plot, echo: str) -> None:
    """Through a real HTTP server that says everything back."""

    def send(name: str, **args: Any) -> None:
        plot.step(name, "http.request", {"method": "POST", "idempotency_key": True, **args})

    send("HTTP JSON", url=f"{echo}/x", json={"a": {"b": [plot.plant()]}})
    send("HTTP body", url=f"{echo}/x", body=plot.plant())
    send("HTTP form", url=f"{echo}/x", form={"a": plot.plant()})
    send("HTTP parameters", url=f"{echo}/x", params={"a": plot.plant()})
    send("HTTP path", url=f"{echo}/x/{plot.plant()[:-3]} | urlencode }}}}")
    send("HTTP userinfo", url=f"http://user:{plot.plant()[:-3]} | urlencode }}}}@{echo[7:]}/x")
    plot.plant()
    send("HTTP header", url=f"{echo}/x", secret_headers={"X-Token": f"env:{plot.canaries[-1].name}"})
    send("HTTP failure", url=f"{echo}/fail", json={"a": plot.plant()})
    send("HTTP redirect", url=f"{echo}/go", params={"a": plot.plant()})
    send("HTTP nobody", url="http://127.0.0.1:9/x", params={"a": plot.plant()}, method="GET")
    send("HTTP no address", url=f"http://{plot.plant()}/x", method="GET")


def plant_others(plot: Plot) -> None:
    """Through HAProxy, waiting, a vault, a keyring and a file."""
    plot.step("HAProxy knows no such server", "haproxy.drain", {"server": plot.plant(tame=True)}, "lb")
    plot.step("HAProxy knows no such backend", "haproxy.state", {"backend": plot.plant(tame=True)}, "lb")
    plot.step("HAProxy is not even asked", "haproxy.enable", {"server": plot.plant()}, "lb")
    plot.step("Wait for a host", "wait.port", {"port": 9, "host": plot.plant(), "timeout": 1})
    for reference in ("vault:secret/canaries#{name}", "keyring:canaries/{name}", "file:{{folder}}/{name}"):
        for verb, hosts in (("local.command", "localhost"), ("ssh.command", "web")):
            args = {"argv": ["echo", plot.plant(reference)], "changed": False}
            plot.step(f"From {reference.partition(':')[0]} by {verb}", verb, args, hosts)


def inventory(desk: Desk, host: SshHost, database: Instance, proxy: HaProxy, wrong: Path) -> str:
    hosts = {
        "web1": {
            "ansible_host": host.address,
            "ansible_port": host.port,
            "ansible_user": host.user,
            "ansible_ssh_private_key_file": str(host.key_path),
            "ssh_known_hosts": str(host.known_hosts_path),
        },
        "db1": {
            "ansible_host": database.host,
            "postgres_port": database.port,
            "postgres_user": CLIENT,
            "postgres_database": "postgres",
            "postgres_password_file": str(database.client_password_file),
        },
        "lb1": {"haproxy_address": str(proxy.admin_socket), "haproxy_backend": "postgres"},
    }
    hosts["locked1"] = {**hosts["db1"], "postgres_password_file": str(wrong)}
    groups = {"web": ["web1"], "db": ["db1"], "lb": ["lb1"], "locked": ["locked1"]}
    text = {name: {"hosts": {one: hosts[one] for one in names}} for name, names in groups.items()}
    return str(desk.write("hosts.yaml", json.dumps({"all": {"children": text}})))


def keep(plot: Plot, desk: Desk, vault: Vault, sources: Path) -> None:
    """Put the secrets where their references say."""
    by_name = {one.name: one.value for one in plot.canaries}
    plot.references = {n: r.replace("{folder}", str(sources)) for n, r in plot.references.items()}
    kinds = {name: reference.partition(":")[0] for name, reference in plot.references.items()}
    vault.write("canaries", **{name: by_name[name] for name, kind in kinds.items() if kind == "vault"})
    ring = PlaintextKeyring()
    ring.file_path = str(sources / "keyring_pass.cfg")
    for name, kind in kinds.items():
        if kind == "keyring":
            ring.set_password("canaries", name, by_name[name])
        if kind == "file":
            (sources / name).write_text(by_name[name])
    desk.env |= plot.environ() | vault.environ()
    desk.env |= {
        "PYTHON_KEYRING_BACKEND": "keyrings.alt.file.PlaintextKeyring",
        "KEYRING_PROPERTY_FILE_PATH": ring.file_path,
    }


def see_through(desk: Desk, first: Said) -> list[Said]:
    """Settle every doubt, and go on, until the run is over; give all that was said."""
    said = [first]
    while said[-1].code == 4 and len(said) < 30:
        place = re.search(r"next: mimrun resolve (\S+) (\S+) --target (\S+)", said[-1].out)
        assert place, said[-1].out
        run, step, target = place.groups()
        said.append(desk("resolve", run, step, "--target", target, "--skip", "--reason", "seen to"))
        assert said[-1].code == 0, said[-1].err
        said.append(desk("resume", run, "--direct"))
    return said


def look_and_export(desk: Desk) -> tuple[list[Said], list[Path]]:
    """Show everything that can be shown, and let the log out in every way."""
    shown = [
        desk(*words)
        for words in (
            ("status",),
            ("status", "--json"),
            ("runs", "--json"),
            ("log", "show", "--blobs"),
            ("log", "show", "--blobs", "--json"),
            ("log", "verify"),
            ("doctor",),
        )
    ]
    files = [desk.folder / f"out.{format_}" for format_ in FORMATS]
    for format_, file in zip(FORMATS, files, strict=True):
        more = ["--blobs"] if format_ == "jsonl" else []
        said = desk("log", "export", "all", "--format", format_, "-o", str(file), *more)
        assert said.code == 0, said.err
    bundle = desk.folder / "all.mimlog"
    assert desk("log", "export", "all", "-o", str(bundle), "--blobs").code == 0
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(desk.folder / "unpacked")
    return shown, [*files, bundle]


@pytest.mark.needs("sshd", "ssh", "postgres", "haproxy", "openbao")
@pytest.mark.timeout(300)
def test_no_planted_secret_is_to_be_found_anywhere(  # noqa: PLR0917 - the real parts that it needs
    desk: Desk,
    echo: str,
    web1: SshHost,
    database: Instance,
    proxy: HaProxy,
    vault: Vault,
    collector: Collector,
    tmp_path: Path,
    record_property: Any,
) -> None:
    sources, targets = tmp_path / "sources", tmp_path / "targets"
    sources.mkdir()
    targets.mkdir()
    (targets / "copied").write_text("what was there before\n")
    plot = Plot()
    plant_local(plot, targets)
    plant_ssh(plot)
    plant_postgres(plot)
    plant_http(plot, echo)
    plant_others(plot)
    wrong = canary(99)
    (sources / "wrong").write_text(wrong.value)
    keep(plot, desk, vault, sources)
    desk.env["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.address
    book = desk.runbook(plot.book(), more="hosts: all\n" + plot.inputs())
    words = [book, *plot.given(), "-i", inventory(desk, web1, database, proxy, sources / "wrong")]
    said = [desk("plan", *words), desk("plan", *words, "--json"), desk("plan", *words, "--check")]
    ran = see_through(desk, desk.run(*words))
    assert ran[-1].code in (0, 1), ran[-1].out + ran[-1].err
    assert desk.status()["status"] in ("succeeded", "failed")
    undone = desk("undo", "latest", "--direct", "--yes")
    shown, _ = look_and_export(desk)
    everything = [
        *(
            (f"command {n}", (one.out + one.err).encode())
            for n, one in enumerate([*said, *ran, undone, *shown])
        ),
        *((f"spans {n}", body) for n, body in enumerate(collector.bodies)),
    ]
    found = leaks([*plot.canaries, wrong], [tmp_path], everything, [sources, targets])
    assert found == [], "\n".join(found)
    record_property("counted", f"planted secrets={len(plot.canaries)}")
    assert len(plot.canaries) >= 40
    assert collector.spans()
    assert (targets / "copied").read_text() == next(
        one.value
        for one in plot.canaries
        if f"{{{{ {one.name} }}}}" in json.dumps(_step(plot, "A file's content"))
    ), "the secret has come where it was meant to"
    masked = (tmp_path / "out.jsonl").read_text("utf-8").count("*****")
    assert masked > 2 * len(plot.canaries), "what was said has been recorded"


def _step(plot: Plot, name: str) -> dict[str, Any]:
    return next(step for step in plot.steps if step["name"] == name)


@pytest.mark.needs("prefect")
@pytest.mark.timeout(300)
def test_no_planted_secret_is_to_be_found_where_prefect_drives(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    assert pytestconfig.cache is not None
    cache = pytestconfig.cache.mkdir("mimrun-flows")
    desk, sources, plot = Desk(tmp_path), tmp_path / "sources", Plot()
    sources.mkdir()
    (tmp_path / "tmp").mkdir()
    desk.env |= {
        "XDG_CACHE_HOME": str(cache),
        "TMPDIR": str(tmp_path / "tmp"),
        "PREFECT_LOGGING_LEVEL": "DEBUG",
    }
    lay_template(desk.home, cache / "mimrun")
    plant_local(plot, tmp_path / "nowhere")
    plot.steps = [step for step in plot.steps if "timeout" not in step]  # it would have to be settled
    plot.references = {name: f"file:{sources}/{name}" for name in plot.references}
    for one in plot.canaries:
        (sources / one.name).write_text(one.value)
    try:
        assert desk("up").code == 0
        ran = desk("run", "--yes", desk.runbook(plot.book(), more=plot.inputs()), *plot.given())
    finally:
        desk("down", "--force")
    assert ran.code == 0, ran.out + ran.err
    modes = [line for line in desk("log", "show", "--json").out.splitlines() if '"run.mode"' in line]
    assert '"mode":"prefect"' in modes[0]
    assert list(desk.home.rglob("prefect.db")), "Prefect's database is among what is looked at"
    shown, _ = look_and_export(desk)
    said = [(f"command {n}", (one.out + one.err).encode()) for n, one in enumerate([ran, *shown])]
    found = leaks(plot.canaries, [tmp_path], said, [sources])
    assert found == [], "\n".join(found)


def test_the_search_finds_each_form_that_a_program_says(tmp_path: Path) -> None:
    one = canary(1)
    for form, code in FORMS.items():
        (tmp_path / "said").write_bytes(_said(one, code))
        assert leaks([one], [tmp_path], [], []), form
    assert len(set(needles(one).values())) > 12


def _said(one: Canary, code: str) -> bytes:
    import subprocess  # noqa: PLC0415

    return subprocess.run(
        [sys.executable, "-c", SAY + code, one.value], capture_output=True, check=True
    ).stdout


def test_a_bug_that_names_a_secret_leaves_it_out_of_the_program_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, one = Bench(tmp_path), canary(1)
    monkeypatch.setenv("CANARY", one.value)

    def breaks(*_: object) -> None:
        try:
            raise ValueError(one.value)
        except ValueError as exc:
            raise ZeroDivisionError(f"because of {one.value!r}") from exc

    monkeypatch.setattr(Executor, "execute", breaks)
    with pytest.raises(ZeroDivisionError):
        bench.run(a_plan(bench.world, action("1"), inputs={"token": {"secret": "env:CANARY"}}))
    assert "ZeroDivisionError" in bench.settings.program_log.read_text()
    assert leaks([one], [tmp_path], [], []) == []
