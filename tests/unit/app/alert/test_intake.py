"""The intake over a real log: once each, durable before the answer, nothing from strangers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from builders.alerts import BEARER, JSON_TYPE, SECRET, TOKEN, case, hexadecimal, storm, value
from builders.runs import RESPONDER, Bench

from mimrun.app.alert import sources as sources_module
from mimrun.app.alert.intake import UNKNOWN, Intake
from mimrun.app.alert.sources import SourcesInForce
from mimrun.app.alert.view import alert_seq, list_alerts, open_alerts, read_alert
from mimrun.app.home import Home
from mimrun.errors import (
    AlertAuthError,
    AlertTooLargeError,
    AlertTypeError,
    InputError,
    IntakeClosedError,
    MimrunError,
)
from mimrun.incident.intake.delivery import JSON
from mimrun.incident.intake.payload import MAX_BYTES
from mimrun.incident.intake.reading import READERS
from mimrun.log.kinds import AlertReceived
from mimrun.log.moment import utc_now
from mimrun.log.proof.verify import verify

SOURCES = """\
sources:
  prometheus: {kind: alertmanager, token: file:TOKEN, may_launch: true}
  pager: {kind: pagerduty, secrets: file:SECRET}
"""


@pytest.fixture
def home(bench: Bench) -> Iterator[Home]:
    write_sources(bench, SOURCES)
    with bench.home() as opened:
        yield opened


def write_sources(bench: Bench, text: str) -> None:
    folder = bench.settings.home
    for name, secret in (("TOKEN", TOKEN), ("SECRET", SECRET)):
        (folder / name).write_text(f"{secret}\n")
        text = text.replace(f"file:{name}", f"file:{folder / name}")
    draft = folder / "alerts.draft"
    draft.write_text(text)
    draft.replace(bench.settings.alerts)


def receive(
    intake: Intake, raw: bytes, *, kind: str = "alertmanager", source: str = "", **headers: str
) -> tuple[int, int]:
    given = {name.replace("_", "-"): text for name, text in headers.items()}
    received = intake.receive(kind, raw, given or BEARER, utc_now(), source=source)
    return received.accepted, received.duplicates


def test_an_alert_is_on_record_as_it_came(home: Home) -> None:
    intake = Intake(home)
    received = intake.receive(
        "alertmanager",
        case("alertmanager.json"),
        {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"},
        utc_now(),
    )
    assert (received.source, received.accepted, received.duplicates) == ("prometheus", 1, 0)
    entry = home.store.entry(received.alerts[0])
    assert isinstance(entry.body, AlertReceived)
    assert (entry.actor.kind, entry.actor.id, entry.actor.via, entry.actor.auth) == (
        "system",
        "alert:prometheus",
        "web",
        "token",
    )
    assert (entry.inc, entry.run) == ("", "")
    alert = read_alert(home, entry)
    assert alert.labels["alertname"] == "CheckoutErrorRateHigh"
    assert (alert.auth, alert.source) == ("token", "prometheus")
    assert alert_seq(home, alert.key) == entry.seq
    assert [one.seq for one in list_alerts(home)] == [entry.seq]


def test_what_is_opened_again_is_wrong_again_until_it_is_over_again(home: Home) -> None:
    intake, body, wrong = Intake(home), value("pagerduty.json"), list[int]()
    for minute, kind in enumerate(("triggered", "resolved", "reopened", "resolved")):
        body["event"].update(
            id=kind + str(minute), event_type=f"incident.{kind}", occurred_at=f"2020-10-02T18:0{minute}:00Z"
        )
        raw = json.dumps(body).encode()
        signature = f"v1={hexadecimal(SECRET, raw)}"
        receive(intake, raw, kind="pagerduty", x_pagerduty_signature=signature, **{"content-type": JSON})
        wrong.append(len(open_alerts(home)))
    assert wrong == [1, 0, 1, 0]


def test_a_signed_delivery_says_that_it_was_signed(home: Home) -> None:
    raw = case("pagerduty.json")
    signature = f"v1={hexadecimal(SECRET, raw)}"
    assert receive(
        Intake(home), raw, kind="pagerduty", x_pagerduty_signature=signature, content_type="application/json"
    ) == (1, 0)
    assert list_alerts(home)[0].said.auth == "signature"


def test_what_comes_again_is_recognised_also_after_a_restart(bench: Bench, home: Home) -> None:
    intake, raw = Intake(home), storm(1, alerts=5)
    assert receive(intake, raw) == (5, 0)
    size = home.store.head().size
    assert receive(intake, raw) == (0, 5)
    assert receive(Intake(home), raw) == (0, 5)
    with bench.home() as again:
        assert receive(Intake(again), raw) == (0, 5)
        first = Intake(again).receive("alertmanager", storm(1, alerts=5), BEARER, utc_now())
    assert home.store.head().size == size
    assert [one.seq for one in list_alerts(home)] == list(first.alerts)


def test_what_is_new_in_a_delivery_is_taken_and_the_rest_recognised(home: Home) -> None:
    intake = Intake(home)
    assert receive(intake, storm(1, alerts=2)) == (2, 0)
    received = intake.receive("alertmanager", storm(1, alerts=4), BEARER, utc_now())
    assert (received.accepted, received.duplicates) == (2, 2)
    assert len(set(received.alerts)) == 4
    assert receive(Intake(home), storm(1, alerts=5)) == (1, 4)


def test_a_resolution_that_comes_first_stays_in_front(home: Home) -> None:
    intake = Intake(home)
    receive(intake, case("alertmanager_resolved.json"))
    receive(intake, case("alertmanager.json"))
    assert [one.said.status for one in list_alerts(home)] == ["resolved", "firing"]
    assert len({one.said.starts_at for one in list_alerts(home)}) == 1


def test_one_delivery_is_one_append(home: Home) -> None:
    before = home.store.head().size
    received = Intake(home).receive("alertmanager", storm(1, alerts=50), BEARER, utc_now())
    assert list(received.alerts) == list(range(before + 1, before + 51))
    moments = {one.at for one in list_alerts(home)}
    assert len(moments) <= 50
    assert verify(home.store).ok


def test_many_threads_record_each_alert_once(home: Home) -> None:
    intake = Intake(home)
    start = threading.Barrier(8)

    def send(thread: int) -> list[tuple[int, ...]]:
        start.wait()
        return [
            intake.receive("alertmanager", storm(number, alerts=2), BEARER, utc_now()).alerts
            for number in range(20)
        ]

    with ThreadPoolExecutor(8) as pool:
        answers = [*pool.map(send, range(8))]
    assert all(answer == answers[0] for answer in answers)
    assert len(list_alerts(home)) == 40
    assert intake.counts.received() == {"prometheus": 40}
    assert intake.counts.duplicates() == {"prometheus": 280}


def test_two_intakes_on_one_log_record_each_alert_once(bench: Bench, home: Home) -> None:
    with bench.home() as other, ThreadPoolExecutor(2) as pool:
        intakes = [Intake(home), Intake(other)]
        found = [*pool.map(lambda intake: [receive(intake, storm(n)) for n in range(40)], intakes)]
    assert sum(accepted for answers in found for accepted, _ in answers) == 40
    assert len(list_alerts(home)) == 40


STRANGERS: list[tuple[str, str, dict[str, str]]] = [
    ("alertmanager", "", {}),
    ("alertmanager", "", {"authorization": "Bearer wrong"}),
    ("alertmanager", "nobody", BEARER),
    ("alertmanager", "pager", BEARER),
    ("grafana", "", BEARER),
    ("nonsense", "", BEARER),
    ("pagerduty", "", BEARER),
    ("pagerduty", "", {**JSON_TYPE, "x-pagerduty-signature": "v1=00"}),
    ("alertmanager", "", {"content-type": "text/plain"}),
    ("alertmanager", "", {"content-encoding": "gzip"}),
]


@pytest.mark.parametrize(("kind", "source", "headers"), STRANGERS)
@pytest.mark.parametrize("raw", [b"", b"{", b'{"event": {"event_type": "pagey.ping", "id": "x"}}', storm(1)])
def test_strangers_all_get_one_answer_and_leave_no_trace(
    home: Home, kind: str, source: str, headers: dict[str, str], raw: bytes
) -> None:
    intake, size = Intake(home), home.store.head().size
    with pytest.raises(AlertAuthError) as caught:
        intake.receive(kind, raw, headers, utc_now(), source=source)
    assert str(caught.value) == UNKNOWN
    assert home.store.head().size == size
    assert intake.counts.refused()["unknown_sender"] == 1


@pytest.mark.parametrize(
    ("raw", "headers", "error", "reason"),
    [
        (b"{", BEARER, InputError, "malformed"),
        (b"[]", BEARER, InputError, "malformed"),
        (storm(1), {**BEARER, "content-type": "text/plain"}, AlertTypeError, "content_type"),
        (storm(1), {**BEARER, "content-encoding": "gzip"}, AlertTypeError, "content_type"),
        (b" " * (MAX_BYTES + 1), BEARER, AlertTooLargeError, "too_large"),
        (b" " * (MAX_BYTES + 1), {}, AlertTooLargeError, "too_large"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_reason_and_counted(
    home: Home, raw: bytes, headers: dict[str, str], error: type[MimrunError], reason: str
) -> None:
    intake, size = Intake(home), home.store.head().size
    with pytest.raises(error) as caught:
        intake.receive("alertmanager", raw, headers, utc_now())
    assert type(caught.value) is error
    assert str(caught.value)
    assert intake.counts.refused() == {**dict.fromkeys(intake.counts.refused(), 0), reason: 1}
    assert home.store.head().size == size


def test_one_bad_alert_in_a_delivery_lets_nothing_of_it_in(home: Home) -> None:
    body = json.loads(storm(1, alerts=3))
    body["alerts"][2]["status"] = "perhaps"
    with pytest.raises(InputError, match=r"alerts\[2\].status"):
        receive(Intake(home), json.dumps(body).encode())
    assert not list_alerts(home)


def test_a_ping_is_answered_and_not_recorded(home: Home) -> None:
    raw = b'{"event": {"id": "x", "event_type": "pagey.ping", "data": {}}}'
    headers = {**JSON_TYPE, "x-pagerduty-signature": f"v1={hexadecimal(SECRET, raw)}"}
    received = Intake(home).receive("pagerduty", raw, headers, utc_now())
    assert (received.accepted, received.duplicates, received.alerts) == (0, 0, ())


def test_known_secrets_are_masked_before_anything_is_recorded(home: Home) -> None:
    body = value("alertmanager.json")
    body["alerts"][0]["annotations"]["summary"] = f"sent with {TOKEN}"
    received = Intake(home).receive("alertmanager", json.dumps(body).encode(), BEARER, utc_now())
    entry = home.store.entry(received.alerts[0])
    assert read_alert(home, entry).annotations["summary"] == "sent with *****"
    assert TOKEN not in str(entry.as_json())


def test_a_person_hands_an_alert_in_under_their_name(home: Home) -> None:
    received = Intake(home).hand_in("alertmanager", case("alertmanager.json"), RESPONDER)
    entry = home.store.entry(received.alerts[0])
    assert (entry.actor.kind, entry.actor.id) == ("person", "responder")
    assert (read_alert(home, entry).auth, received.source) == ("person", "prometheus")
    # What a monitoring system then says itself has come already.
    assert receive(Intake(home), case("alertmanager.json")) == (0, 1)


def test_a_person_needs_a_source_only_where_something_must_be_mapped(home: Home) -> None:
    intake = Intake(home)
    assert intake.hand_in("cloudevents", case("cloudevent.json"), RESPONDER).source == "cloudevents"
    with pytest.raises(InputError, match="no source of kind json"):
        intake.hand_in("json", case("statuspage.json"), RESPONDER)
    with pytest.raises(InputError, match=r"there is no source 'prometeus'.*did you mean 'prometheus'"):
        intake.hand_in("alertmanager", case("alertmanager.json"), RESPONDER, source="prometeus")
    with pytest.raises(InputError, match="no kind 'alertmanger'; did you mean 'alertmanager'"):
        intake.hand_in("alertmanger", b"{}", RESPONDER)


def test_a_changed_file_counts_at_once_and_a_broken_one_does_not(bench: Bench, home: Home) -> None:
    intake = Intake(home)
    assert receive(intake, storm(1)) == (1, 0)
    write_sources(bench, "sources:\n  prometheus: {kind: alertmanger}\n")
    assert receive(intake, storm(2)) == (1, 0)
    told = bench.settings.program_log.read_text()
    assert "alerts_unreadable" in told
    assert "what was read before stays in force" in told
    write_sources(bench, "sources: {}\n")
    with pytest.raises(AlertAuthError):
        receive(intake, storm(3))
    write_sources(bench, SOURCES)
    assert receive(intake, storm(3)) == (1, 0)


def test_a_file_that_was_never_right_closes_the_intake_until_it_is(bench: Bench, home: Home) -> None:
    write_sources(bench, "sources: []\n")
    intake = Intake(home)
    with pytest.raises(IntakeClosedError, match=r"alerts\.yaml:1:"):
        receive(intake, storm(1))
    assert intake.counts.refused()["closed"] == 1
    write_sources(bench, SOURCES)
    assert receive(intake, storm(1)) == (1, 0)


def test_without_a_file_everybody_is_a_stranger(bench: Bench) -> None:
    with bench.home() as home:
        for kind in READERS:
            with pytest.raises(AlertAuthError):
                Intake(home).receive(kind, storm(1), BEARER, utc_now())


@pytest.mark.parametrize(
    ("content", "why"), [(None, "No such file"), ("short\n", "fewer than 16 characters")]
)
def test_a_secret_that_cannot_be_used_closes_its_kind_and_no_other(
    bench: Bench, home: Home, content: str | None, why: str
) -> None:
    token = bench.settings.home / "TOKEN"
    token.unlink() if content is None else token.write_text(content)
    intake = Intake(home)
    with pytest.raises(IntakeClosedError, match=why):
        receive(intake, storm(1))
    raw = case("pagerduty.json")
    assert receive(
        intake,
        raw,
        kind="pagerduty",
        x_pagerduty_signature=f"v1={hexadecimal(SECRET, raw)}",
        content_type="application/json",
    ) == (1, 0)


def test_a_replaced_secret_counts_after_a_while_and_a_lost_one_goes_on_counting(
    bench: Bench, home: Home
) -> None:
    now = [0.0]
    known, token = SourcesInForce(home.settings, lambda: now[0]), bench.settings.home / "TOKEN"
    assert known.now().keys["alertmanager"][0].tokens == (TOKEN.encode(),)
    token.write_text("another-token-0123456789")
    assert known.now().keys["alertmanager"][0].tokens == (TOKEN.encode(),)
    now[0] += sources_module.REREAD_S
    assert known.now().keys["alertmanager"][0].tokens == (b"another-token-0123456789",)
    token.unlink()
    now[0] += sources_module.REREAD_S
    assert known.now().keys["alertmanager"][0].tokens == (b"another-token-0123456789",)
    assert not known.now().faults


def test_alerts_are_listed_behind_an_entry_and_others_are_none(home: Home) -> None:
    received = Intake(home).receive("alertmanager", case("alertmanager.json"), BEARER, utc_now())
    entry = home.store.entry(received.alerts[0])
    with pytest.raises(InputError, match="is no alert"):
        read_alert(home, home.store.entry(1))
    assert list_alerts(home, after=entry.seq) == []
    assert [one.as_json()["fingerprint"] for one in list_alerts(home, limit=1)] == ["1f36d4528c63a578"]
