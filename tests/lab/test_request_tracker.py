"""A real Request Tracker, and what `deploy/rt/setup` makes of it."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from builders.answering import Answer, answering

from mimrun.errors import LabError
from mimrun.lab import folder as lab
from mimrun.lab.request_tracker import SERVICE, RequestTracker

pytestmark = pytest.mark.needs("request_tracker")
Ask = Callable[..., httpx.Response]
SETUP = Path(__file__).resolve().parents[2] / "deploy" / "rt" / "setup"


@pytest.fixture
def ask(request_tracker: RequestTracker) -> Ask:
    def send(who: str, method: str, path: str, body: object = None) -> httpx.Response:
        token = request_tracker.tokens[who].reveal()
        return httpx.request(
            method,
            f"{request_tracker.url}/REST/2.0/{path}",
            json=body,
            headers={"Authorization": f"token {token}"},
            timeout=30,
        )

    return send


def submitted(ask: Ask, who: str = "bob") -> str:
    made = ask(who, "POST", "ticket", {"Queue": "Changes", "Subject": "Fail over", "Status": "submitted"})
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


def status(ask: Ask, ref: str) -> str:
    return str(ask(SERVICE, "GET", f"ticket/{ref}").json()["Status"])


@pytest.mark.parametrize(
    ("who", "becomes"),
    [("alice", "approved"), ("carol", "approved"), ("bob", "submitted"), (SERVICE, "submitted")],
)
def test_only_change_managers_approve(ask: Ask, who: str, becomes: str) -> None:
    ref = submitted(ask)
    answer = ask(who, "PUT", f"ticket/{ref}", {"Status": "approved"})
    # Also the refusal is answered with 200: whoever writes has to look again.
    assert answer.status_code == 200
    assert status(ask, ref) == becomes


@pytest.mark.parametrize("way", ["draft", "implementing", "rejected"])
def test_no_way_into_approved_or_rejected_goes_without_the_right(ask: Ask, way: str) -> None:
    ref = submitted(ask)
    if way == "implementing":
        ask("alice", "PUT", f"ticket/{ref}", {"Status": "approved"})
    ask("bob", "PUT", f"ticket/{ref}", {"Status": way})
    before = status(ask, ref)
    for wanted in {"approved", "rejected"} - {before}:
        for who in ("bob", SERVICE):
            ask(who, "PUT", f"ticket/{ref}", {"Status": wanted})
            assert status(ask, ref) == before


def test_the_service_account_writes_fields_once_and_never_after(ask: Ask) -> None:
    body = {"Queue": "Changes", "Subject": "x", "CustomFields": {"Digest": "sha256:aa", "No such": "y"}}
    ref = ask(SERVICE, "POST", "ticket", body).json()["id"]
    ask(SERVICE, "PUT", f"ticket/{ref}", {"CustomFields": {"Digest": "sha256:bb"}})
    fields = {f["name"]: f["values"] for f in ask(SERVICE, "GET", f"ticket/{ref}").json()["CustomFields"]}
    assert fields["Digest"] == ["sha256:aa"]
    assert "No such" not in fields


def test_the_service_account_sees_one_queue(ask: Ask) -> None:
    assert ask(SERVICE, "POST", "ticket", {"Queue": "General", "Subject": "x"}).status_code == 403
    ask(SERVICE, "PUT", "user/alice", {"Disabled": 1})
    assert ask("alice", "GET", "queue/Changes").status_code == 200


def test_what_is_set_up_already_stays_and_what_is_missing_is_named(request_tracker: RequestTracker) -> None:
    assert request_tracker.run_setup() == "queue Changes is ready for mimrun\n"
    with pytest.raises(LabError, match="missing: queue Elsewhere"):
        request_tracker.run_setup("--check", "--queue", "Elsewhere")
    with pytest.raises(LabError, match="has the lifecycle 'default', not 'change'"):
        request_tracker.run_setup("--queue", "General")


def test_an_account_that_could_approve_is_refused(request_tracker: RequestTracker) -> None:
    with pytest.raises(LabError, match="account alice has the right ApproveChange in Changes"):
        request_tracker.run_setup("--account", "alice")


def test_a_token_is_for_its_owner_alone_and_overwrites_nothing(request_tracker: RequestTracker) -> None:
    assert request_tracker.token_file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(LabError, match="File exists"):
        request_tracker.run_setup("--token-file", str(request_tracker.token_file))


def test_a_change_of_state_is_told_with_a_signature(request_tracker: RequestTracker, ask: Ask) -> None:
    secret, file = secrets.token_hex(16), request_tracker.folder / "hook.secret"
    file.write_text(f"{secret}\n")
    file.chmod(0o644)
    queue = f"Told {secrets.token_hex(3)}"
    with answering(lambda _: Answer(204, body=b"")) as server:
        hook = ("--hook-url", f"{server.url}/hooks/rt", "--hook-secret-file", str(file))
        assert "scrip 'mimrun: tell of a change of state' is set" in request_tracker.run_setup(
            "--queue", queue, *hook
        )
        made = ask("bob", "POST", "ticket", {"Queue": queue, "Subject": "x", "Status": "submitted"})
        ref = int(made.json()["id"])
        ask("alice", "PUT", f"ticket/{ref}", {"Status": "approved"})
    (told,) = server.seen
    signed = f"{told.headers['X-Mimrun-Timestamp']}.".encode() + told.body
    wanted = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    assert told.headers["X-Mimrun-Signature"] == f"sha256={wanted}"
    said = json.loads(told.body)
    assert (said["ticket"], said["old"], said["new"], said["by"]) == (ref, "submitted", "approved", "alice")


def test_an_address_that_could_say_more_to_perl_is_refused(request_tracker: RequestTracker) -> None:
    for url in ("http://x/'; system('id'); '", "http://x/\n1", "file:///etc/passwd"):
        with pytest.raises(LabError, match="is no http or https address"):
            request_tracker.run_setup("--hook-url", url, "--hook-secret-file", "/x")


def test_what_was_kept_is_begun_with_and_its_tickets_stay_over_a_restart(
    request_tracker: RequestTracker,
) -> None:
    with lab.temporary() as folder:
        template = request_tracker.template
        assert template is not None
        assert (template / "rt.db").exists()
        with RequestTracker(folder / "rt", SETUP, template=template, net="127.0.39") as other:
            url = other.url
            header = {"Authorization": f"token {other.tokens['bob'].reveal()}"}
            made = httpx.post(f"{url}/REST/2.0/ticket", json={"Queue": "Changes"}, headers=header, timeout=30)
            assert made.json()["id"] == "1"
            other.stop()
            with pytest.raises(httpx.ConnectError):
                httpx.get(url, timeout=5)
            other.start()
            assert other.url == url
            assert httpx.get(f"{url}/REST/2.0/ticket/1", headers=header, timeout=30).status_code == 200
