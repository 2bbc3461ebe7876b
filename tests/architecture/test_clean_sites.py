"""The sites that may say "provably nothing was changed", each with the reason why that is proven.

A connector says so in three ways: `clean=` other than False, `raise Refused`, and `raise Unreachable`. A new
site fails here until somebody has written down why nothing can have happened when it is reached.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONNECTORS = ROOT / "connectors"
CLEAN_ERRORS = frozenset({"Refused", "Unreachable"})

SITES: dict[str, tuple[int, str]] = {
    # haproxy: one connection per command, so what was not connected was not commanded
    "haproxy.py:HAProxy.open": (3, "only `show info` was asked"),
    "haproxy.py:HAProxy._perform": (3, "called off before the first question, or only states were asked"),
    "haproxy.py:HAProxy._move": (1, "stopped before the first command that changes something"),
    "haproxy.py:HAProxy._backend": (1, "nothing was asked; once changed, _move turns it into a lost answer"),
    "haproxy.py:HAProxy._servers": (
        1,
        "only states were asked; once changed, _move turns it into a lost answer",
    ),
    "haproxy.py:_connect": (
        3,
        "no connection, so no command; once changed, _move turns it into a lost answer",
    ),
    "haproxy.py:_refusal": (3, "HAProxy's own words for not doing it; a second command's are a lost answer"),
    # http: whether anything was sent is seen on the wire
    "http.py:Http.open": (2, "no connection yet"),
    "http.py:Http._perform": (4, "called off, no base url, or the wire has seen no request go out"),
    "http.py:Http._secrets": (2, "no connection yet"),
    "http.py:_judge": (
        1,
        "a method that asks for no change, or a status by which nothing was begun (RFC 9110)",
    ),
    # local
    "local/__init__.py:Local._perform": (1, "called off before anything was begun"),
    "local/actions.py:Sourced.read": (2, "reads a file, before anything is written or started"),
    "local/file.py:difference": (2, "looks at the folder and reads the file, before anything is written"),
    "local/file.py:copy": (3, "the file is replaced by one rename as the last thing that can fail"),
    "local/program.py:become_words": (3, "sudo was asked to run `true` at most"),
    "local/program.py:run": (2, "called off before the start, or execve(2) itself failed"),
    # postgres
    "postgres/__init__.py:Postgres._perform": (1, "called off before anything was asked"),
    "postgres/__init__.py:Postgres._replication": (1, "only read-only transactions"),
    "postgres/applied.py:_is_there": (1, "before the statement, in a transaction that is rolled back"),
    "postgres/replication.py:promote": (2, "not asked for yet, or the right to call pg_promote is missing"),
    "postgres/replication.py:_before": (2, "only a read-only transaction"),
    "postgres/rewind.py:rewind": (2, "only `pg_rewind --dry-run` has run"),
    "postgres/rewind.py:_command": (6, "looks at files, before anything is run"),
    "postgres/rewind.py:_refused": (1, "only queries, before pg_rewind is run"),
    "postgres/rewind.py:_prepare": (2, "at most a checkpoint was asked for, before pg_rewind is run"),
    "postgres/session.py:Session.password": (1, "no connection yet"),
    "postgres/session.py:Session._dial": (1, "no session, so no statement"),
    "postgres/session.py:Session.open": (1, "no session, so no statement"),
    "postgres/statement.py:query": (1, "a read-only transaction that is rolled back"),
    "postgres/statement.py:_in_transaction": (
        3,
        "rolled back by the server's own word, or no commit was sent, of what a rollback takes back whole",
    ),
    "postgres/statement.py:_alone": (1, "the server could not read the statement itself (SQLSTATE 42601)"),
    # ssh
    "ssh/connection.py:Connection.take_channel": (1, "no channel, so no command"),
    "ssh/connection.py:connect": (1, "not logged in, so no command"),
    "ssh/connection.py:_greet": (6, "no connection, or no common algorithm: not logged in"),
    "ssh/connection.py:_log_in": (5, "not logged in, so no command"),
    "ssh/connector.py:Ssh._site": (1, "no connection, so no command"),
    "ssh/execution.py:Site.ask": (
        1,
        "our own small command was not started; callers that changed something catch it",
    ),
    "ssh/execution.py:run_script": (2, "only the copy of the script was made, and it is removed"),
    "ssh/execution.py:read_local": (3, "reads a file of this machine, before anything is sent"),
    "ssh/execution.py:_judge_start": (2, "the host's own header says that the command was not started"),
    "ssh/execution.py:judge_unstarted": (2, "the header says so, and no other request holds the claim"),
    "ssh/identity.py:identities": (1, "not logged in"),
    "ssh/identity.py:load_key": (2, "not logged in"),
    "ssh/identity.py:_read_key": (5, "not logged in"),
    "ssh/known_hosts.py:KnownHosts.verify": (3, "the host is not trusted: not logged in"),
    "ssh/known_hosts.py:parse_known_hosts": (1, "no connection yet"),
    "ssh/known_hosts.py:load_known_hosts": (2, "no connection yet"),
    "ssh/running.py:run": (1, "the command has no form that can be sent; nothing was"),
    "ssh/running.py:_Watch._exited": (1, "the host answered the request to run something with no"),
    "ssh/systemd.py:perform": (2, "only `systemctl show` was asked, or there is no systemctl to start"),
    "ssh/systemd.py:_show": (1, "only `systemctl show` was asked; after an order it becomes a lost answer"),
    "ssh/systemd.py:_require": (5, "only `systemctl show` was asked"),
    "ssh/terminal.py:SshTerminal.begin": (1, "the host gives a person no terminal; no action comes this way"),
    "ssh/terminal.py:SshTerminal._begun": (1, "no terminal was asked for yet"),
    "ssh/transfer.py:look": (1, "only read; after a write, upload turns it into a lost answer"),
    "ssh/transfer.py:upload": (1, "says only whether the script replaces the file by a rename; _send judges"),
    "ssh/transfer.py:download": (3, "the host is only read, and the local file is replaced by one rename"),
    "ssh/transfer.py:_send": (2, "not started, or an exit code that the script has only before its rename"),
    "ssh/transfer.py:_source": (2, "reads a file of this machine, before anything is sent"),
    "ssh/transfer.py:_require_file": (1, "only looked at"),
    "ssh/transfer.py:_look_first": (1, "only looked at"),
    # wait
    "wait.py:Wait._perform": (1, "waiting changes nothing"),
}


def sites(source: str) -> Iterator[str]:
    """Give the function of every site in a module, as often as it has one."""
    yield from _walk(ast.parse(source), "")


def _walk(node: ast.AST, place: str) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        inner = place
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = f"{place}.{child.name}".lstrip(".")
        if isinstance(child, ast.Call) and any(map(_may_be_clean, _clean_words(child))):
            yield inner
        # Raised at once, or made to be raised: each is a site.
        made = child.exc if isinstance(child, ast.Raise) else None if isinstance(node, ast.Raise) else child
        if isinstance(child, ast.Raise | ast.Call) and _names(made) & CLEAN_ERRORS:
            yield inner
        yield from _walk(child, inner)


def _clean_words(call: ast.Call) -> list[ast.expr]:
    """Give what a call says about `clean`, by name, or as the second value of `Failed`."""
    found = [word.value for word in call.keywords if word.arg == "clean"]
    return found + (call.args[1:2] if _names(call.func) == {"Failed"} else [])


def _may_be_clean(value: ast.expr) -> bool:
    return not (isinstance(value, ast.Constant) and value.value is False)


def _names(node: ast.expr | None) -> set[str]:
    """Name what is called: of `raise (A if x else B)(text) from exc` both."""
    match node:
        case ast.Call(func=func):
            return _names(func)
        case ast.IfExp(body=body, orelse=orelse):
            return _names(body) | _names(orelse)
        case ast.Name(id=name):
            return {name}
        case ast.Attribute(attr=name):
            return {name}
        case _:
            return set()


def test_every_site_that_may_say_clean_is_in_the_table_with_its_reason() -> None:
    found = Counter(
        f"{path.relative_to(CONNECTORS).as_posix()}:{site}"
        for path in sorted(CONNECTORS.rglob("*.py"))
        # What an adapter of a change system adds bears a key, and is looked for before it is added again.
        if "change" not in path.parts
        for site in sites(path.read_text("utf-8"))
    )
    listed = {site: count for site, (count, _) in SITES.items()}
    new = {site: count for site, count in found.items() if count > listed.get(site, 0)}
    gone = {site: count for site, count in listed.items() if count > found.get(site, 0)}
    assert not new, f"why is it proven that nothing was changed there? Write it into SITES: {new}"
    assert not gone, f"these are in SITES and not in the code any more: {gone}"


def test_every_reason_is_one() -> None:
    assert all(len(reason.split()) >= 3 for _, reason in SITES.values())


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("return Failed('x', clean=True)", 1),
        ("return Failed('x', clean=rolled_back)", 1),
        ("return Failed('x', True)", 1),
        ("return replace(failed, clean=True)", 1),
        ("return _send(x, clean=not y)", 1),
        ("raise Refused('x')", 1),
        ("raise Refused", 1),
        ("raise connector.Unreachable('x') from exc", 1),
        ("raise (Refused if x else Unreachable)('x')", 1),
        ("exc = Refused('x')", 1),
        ("return Failed('x', clean=False)", 0),
        ("return Failed('x', False)", 0),
        ("raise LostAnswer('x')", 0),
        ("return Unknown('x')", 0),
    ],
)
def test_a_site_is_seen_however_it_is_written(line: str, count: int) -> None:
    assert list(sites(f"class A:\n    def b(self):\n        {line}\n")) == ["A.b"] * count
