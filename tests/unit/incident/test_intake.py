"""What each monitoring system sends, read into alerts; and whatever anybody could send besides."""

from __future__ import annotations

import json
from typing import Any

import pytest
from builders.alerts import JSON_TYPE, MAPPING, case, delivery, value
from builders.hostile import STRINGS
from hypothesis import given, settings
from hypothesis import strategies as st

from mimrun.errors import AlertTooLargeError, AlertTypeError, InputError
from mimrun.incident.alert import Alert, over_by
from mimrun.incident.intake.address import address, without_credentials
from mimrun.incident.intake.payload import MAX_ALERTS, MAX_BYTES
from mimrun.incident.intake.reading import READERS, alerts_of

CLOUD = {"content-type": "application/cloudevents+json; charset=UTF-8"}
HOSTILE = [
    *STRINGS,
    "{{ 7*7 }}",
    "{% for x in y %}",
    "${jndi:ldap://x}",
    "$(reboot)",
    "`reboot`",
    "'; drop table entry; --",
    "<script>alert(1)</script>",
    "\x1b[31m\x1b]52;c;ZWNobw==\x07",
    "\u202egnp.exe",
    "--upload-pack=x",
    "../../etc/passwd",
    "\u0000",
    "\r\nSet-Cookie: x=1",
    "%n%s%x",
    "\U0001f4a9" * 40,
]


def only(kind: str, body: bytes | object, **more: Any) -> Alert:
    (found,) = alerts_of(delivery(kind, body, **more))
    return found


def test_alertmanagers_alert_is_read_as_it_was_recorded() -> None:
    one = only("alertmanager", case("alertmanager.json"))
    assert (one.source, one.fingerprint, one.status, one.severity) == (
        "monitor",
        "1f36d4528c63a578",
        "firing",
        "critical",
    )
    assert one.title == "error ratio 20% on 127.0.0.1:9198"
    assert (one.service, one.starts_at, one.ends_at) == ("checkout", "2026-11-21T22:52:24.180000Z", "")
    assert one.labels["runbook"] == "db-failover"
    assert one.url.startswith("http://vm:9190/graph?g0.expr=app_error_ratio")
    assert not one.more


def test_its_resolution_is_another_alert_about_the_same() -> None:
    firing, resolved = (only("alertmanager", case(f"alertmanager{end}.json")) for end in ("", "_resolved"))
    assert (resolved.status, resolved.ends_at) == ("resolved", "2026-11-21T22:52:25.180000Z")
    assert (firing.fingerprint, firing.starts_at) == (resolved.fingerprint, resolved.starts_at)
    assert firing.key != resolved.key


def test_a_repetition_is_the_same_alert_and_a_new_beginning_is_not() -> None:
    body = value("alertmanager.json")
    first = only("alertmanager", body)
    body["alerts"][0]["annotations"]["summary"] = "error ratio 21%"
    assert only("alertmanager", body).key == first.key
    body["alerts"][0]["startsAt"] = "2026-11-21T23:52:24.18Z"
    assert only("alertmanager", body).key != first.key


def test_each_alert_of_a_group_has_its_own_status() -> None:
    body = value("alertmanager.json")
    body["alerts"].append({**body["alerts"][0], "status": "resolved", "fingerprint": "b"})
    assert [one.status for one in alerts_of(delivery("alertmanager", body))] == ["firing", "resolved"]


def test_a_group_that_was_cut_says_that_there_are_more() -> None:
    assert only("alertmanager", {**value("alertmanager.json"), "truncatedAlerts": 7}).more


def test_an_alert_that_stands_twice_in_a_delivery_is_one() -> None:
    body = value("alertmanager.json")
    body["alerts"] *= 2
    assert len(alerts_of(delivery("alertmanager", body))) == 1


def test_grafanas_alerts_have_values_and_links_without_credentials() -> None:
    firing, resolved = alerts_of(delivery("grafana", case("grafana.json")))
    assert (firing.fingerprint, firing.severity, firing.value) == (
        "1:c6eadffa33fcdf37",
        "critical",
        "44.23943737541908",
    )
    assert firing.starts_at == "2026-11-21T07:51:03.157076Z"
    assert firing.annotations["panelURL"] == "https://grafana.example.org/d/x?viewPanel=1"
    assert (
        firing.annotations["runbook_url"] == "https://*****@wiki.example.org/high-memory?token=*****&page=7"
    )
    assert (resolved.status, resolved.severity, resolved.value) == ("resolved", "unknown", "A=1, B=0.5")
    assert firing.more
    assert resolved.more


def test_pagerdutys_event_is_an_alert_about_its_incident() -> None:
    one = only("pagerduty", case("pagerduty.json"))
    assert (one.fingerprint, one.status, one.severity, one.service) == (
        "PGR0VU2",
        "firing",
        "critical",
        "API Service",
    )
    assert one.title == "A little bump in the road"
    assert one.starts_at == "2020-04-09T15:16:27.000000Z"
    assert one.url == "https://acme.pagerduty.com/incidents/PGR0VU2"
    assert one.labels["agent"] == "Tenex Engineer"


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("incident.acknowledged", "acknowledged"),
        ("incident.unacknowledged", "firing"),
        ("incident.reopened", "firing"),
        ("incident.resolved", "resolved"),
        ("incident.annotated", "info"),
        ("incident.role.assigned", "info"),
        ("service.updated", "info"),
    ],
)
def test_what_happens_in_pagerduty_says_how_it_stands(kind: str, status: str) -> None:
    body = value("pagerduty.json")
    body["event"]["event_type"] = kind
    one = only("pagerduty", body)
    assert (one.status, bool(one.ends_at)) == (status, status == "resolved")


def test_what_pagerduty_opens_again_began_again_and_is_over_when_it_is_resolved_again() -> None:
    body, found = value("pagerduty.json"), []
    for minute, kind in enumerate(("triggered", "resolved", "reopened", "resolved")):
        body["event"].update(event_type=f"incident.{kind}", occurred_at=f"2020-10-02T18:0{minute}:00Z")
        one = only("pagerduty", body)
        found.append((one.status, one.starts_at[:16] or over_by(one)[:16]))
    assert found == [
        ("firing", "2020-04-09T15:16"),
        ("resolved", "2020-10-02T18:01"),
        ("firing", "2020-10-02T18:02"),
        ("resolved", "2020-10-02T18:03"),
    ]


def test_pagerdutys_automation_has_no_agent_and_no_priority() -> None:
    body = value("pagerduty.json")
    body["event"].update(agent=None, client=None)
    body["event"]["data"]["priority"] = None
    assert only("pagerduty", body).severity == "high"
    body["event"]["data"]["urgency"] = "low"
    assert only("pagerduty", body).severity == "warning"


def test_a_note_in_pagerduty_is_about_its_incident() -> None:
    body = value("pagerduty.json")
    body["event"]["event_type"] = "incident.annotated"
    body["event"]["data"] = {
        "id": "P1",
        "type": "incident_note",
        "content": "I am on it",
        "incident": {"id": "PGR0VU2", "summary": "A bump"},
    }
    one = only("pagerduty", body)
    assert (one.fingerprint, one.title, one.annotations["content"]) == ("PGR0VU2", "A bump", "I am on it")


def test_what_only_tries_the_way_is_no_alert() -> None:
    body = {"event": {"id": "x", "event_type": "pagey.ping", "data": {"message": "hello"}}}
    assert alerts_of(delivery("pagerduty", body)) == []


def test_a_cloud_event_is_read_structured_batched_and_binary() -> None:
    event = value("cloudevent.json")
    one = only("cloudevents", event, headers=CLOUD)
    assert (one.fingerprint, one.status, one.severity, one.service) == (
        "/mon/db db1",
        "firing",
        "critical",
        "orders",
    )
    assert (one.title, one.value, one.labels["region"]) == ("db1 is down", "0", "eu")
    batch = {"content-type": "application/cloudevents-batch+json"}
    assert alerts_of(delivery("cloudevents", [event, {**event, "id": "other"}], headers=batch))[
        0
    ] == one.model_copy(
        update={
            "raw_digest": alerts_of(
                delivery("cloudevents", [event, {**event, "id": "other"}], headers=batch)
            )[0].raw_digest
        }
    )
    data = event.pop("data")
    headers = {**JSON_TYPE, **{f"ce-{name}": text for name, text in event.items()}}
    binary = only("cloudevents", data, headers=headers)
    assert (binary.key, binary.title, binary.labels) == (one.key, one.title, one.labels)


def test_a_cloud_event_is_told_from_its_repetition_by_source_and_id() -> None:
    event = value("cloudevent.json")
    one = only("cloudevents", event, headers=CLOUD)
    assert only("cloudevents", {**event, "subject": "db2"}, headers=CLOUD).key == one.key
    assert only("cloudevents", {**event, "id": "B"}, headers=CLOUD).key != one.key


@pytest.mark.parametrize(
    ("type_", "status"),
    [
        ("com.example.alert.resolved", "resolved"),
        ("com.example.alert.acked", "acknowledged"),
        ("com.example.deployed", "info"),
    ],
)
def test_the_type_of_a_cloud_event_says_how_it_stands(type_: str, status: str) -> None:
    assert only("cloudevents", {**value("cloudevent.json"), "type": type_}, headers=CLOUD).status == status


def test_a_cloud_event_may_have_a_mapping() -> None:
    mapping = {"fingerprint": "subject", "title": "data.title", "severity": {"constant": "warning"}}
    one = only("cloudevents", value("cloudevent.json"), headers=CLOUD, mapping=mapping)
    assert (one.fingerprint, one.severity, one.status) == ("db1", "warning", "firing")
    assert one.key == only("cloudevents", value("cloudevent.json"), headers=CLOUD).key


def test_json_of_any_form_is_read_by_its_mapping() -> None:
    one = only("json", case("statuspage.json"))
    assert (one.fingerprint, one.title, one.status, one.severity) == (
        "c-7",
        "Payments API",
        "firing",
        "critical",
    )
    assert (one.service, one.value, one.starts_at) == ("payments", "950", "2026-11-21T22:52:24.000000Z")
    assert one.labels == {"vendor": "Vendor", "app": "pay"}
    assert one.annotations == {"event": "e1"}
    assert one.url == "https://status.example.org/e1?sig=*****"


def test_a_mapping_may_say_what_tells_an_alert_from_its_repetition() -> None:
    body = value("statuspage.json")
    mapping = {**MAPPING, "key": ["id", {"path": "state"}]}
    first = only("json", body, mapping=mapping)
    body["events"][0]["at"] += 60
    assert only("json", body, mapping=mapping).key == first.key
    body["events"][0]["id"] = "e2"
    assert only("json", body, mapping=mapping).key != first.key


def test_all_keys_of_a_mapping_can_become_labels() -> None:
    one = only("json", case("statuspage.json"), mapping={**MAPPING, "all_labels": "tags", "labels": {}})
    assert one.labels == {"app.kubernetes.io/name": "pay"}


def test_a_table_without_an_entry_gives_what_is_said_for_otherwise() -> None:
    body = value("statuspage.json")
    body["events"][0].update(state="up", level=1)
    one = only("json", body)
    assert (one.status, one.severity) == ("resolved", "unknown")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": "3"}, "version must be '4'"),
        ({"alerts": []}, "alerts is empty"),
        ({"alerts": {}}, "alerts must be a list"),
        ({"alerts": [1]}, r"alerts\[0\] must be a mapping of keys, and not 1"),
        ({"alerts": [{"status": "ok"}]}, r"alerts\[0\].status must be 'firing' or 'resolved', and not 'ok'"),
        ({"alerts": [{"status": "firing"}]}, r"alerts\[0\].fingerprint is missing"),
        (
            {"alerts": [{"status": "firing", "fingerprint": "f", "startsAt": "soon"}]},
            r"alerts\[0\].startsAt is no time, and not 'soon'",
        ),
        (
            {"alerts": [{"status": "firing", "fingerprint": "f", "labels": []}]},
            r"alerts\[0\].labels must be a mapping of keys",
        ),
        (
            {
                "alerts": [
                    {"status": "firing", "fingerprint": "f", "labels": {str(n): "" for n in range(201)}}
                ]
            },
            "has more than 200 keys",
        ),
    ],
)
def test_what_is_malformed_is_refused_with_its_place(change: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        alerts_of(delivery("alertmanager", {**value("alertmanager.json"), **change}))


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"\xff", b"nul", b'{"a":NaN}', b'"\\ud800"', b"\x1f\x8b\x08", b"[" * 5000, b"\xef\xbb\xbf{}"],
)
def test_what_is_no_json_is_refused(raw: bytes) -> None:
    for kind in READERS:
        with pytest.raises(InputError, match="is not JSON"):
            alerts_of(delivery(kind, raw, headers=CLOUD if kind == "cloudevents" else JSON_TYPE))


def test_what_is_too_deep_or_too_large_is_refused() -> None:
    with pytest.raises(InputError, match="nested deeper than 32"):
        alerts_of(delivery("alertmanager", b'{"a":' * 40 + b"1" + b"}" * 40))
    with pytest.raises(AlertTooLargeError, match="more than 100000 values"):
        alerts_of(delivery("alertmanager", b"[" + b"1," * 200_000 + b"1]"))
    with pytest.raises(AlertTooLargeError, match="bytes"):
        alerts_of(delivery("alertmanager", b" " * (MAX_BYTES + 1)))
    body = value("alertmanager.json")
    with pytest.raises(AlertTooLargeError, match="1000 alerts at most"):
        alerts_of(delivery("alertmanager", {**body, "alerts": [{}] * (MAX_ALERTS + 1)}))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "multipart/form-data; boundary=x"},
        {"content-type": "application/json; charset=utf-16"},
        {"content-type": "application/json", "content-encoding": "gzip"},
    ],
)
def test_another_content_type_is_refused(headers: dict[str, str]) -> None:
    for kind, name in (
        ("alertmanager", "alertmanager.json"),
        ("json", "statuspage.json"),
        ("cloudevents", "cloudevent.json"),
    ):
        with pytest.raises(AlertTypeError, match="is not read here"):
            alerts_of(delivery(kind, case(name), headers=headers or {"x": "y"}))


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_data(text: str) -> None:
    body = value("alertmanager.json")
    one = body["alerts"][0]
    one["labels"] = {"alertname": text, text: text, "service": text, "severity": text}
    one["annotations"] = {"summary": text}
    read = only("alertmanager", body)
    assert read.labels[text] == text == read.labels["alertname"]
    assert read.annotations["summary"] == text
    assert Alert.decode(read.encode()) == read
    assert (read.severity, read.url) == ("unknown", one["generatorURL"])


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", " https://x", "//x", "http:x"]
)
def test_what_is_no_address_is_not_linked_to(url: str) -> None:
    assert address(url) == ""


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://u:p@h/x", "https://*****@h/x"),
        ("https://h/x?api_key=1&b=2#access_token=3", "https://h/x?api_key=*****&b=2#access_token=*****"),
        ("https://h/?X-Amz-Signature=1", "https://h/?X-Amz-Signature=*****"),
        ("https://h/?monkey=1", "https://h/?monkey=1"),
        ("https://[broken/?token=1", "*****"),
        ("see https://h/?token=1", "see https://h/?token=1"),
    ],
)
def test_addresses_lose_what_would_let_anybody_in(given: str, kept: str) -> None:
    assert without_credentials(given) == kept


KEYS = st.sampled_from(
    [
        "alerts",
        "status",
        "labels",
        "annotations",
        "startsAt",
        "endsAt",
        "fingerprint",
        "version",
        "truncatedAlerts",
        "event",
        "data",
        "id",
        "event_type",
        "occurred_at",
        "created_at",
        "incident",
        "specversion",
        "source",
        "type",
        "subject",
        "time",
        "events",
        "component",
        "state",
        "level",
        "at",
        "measure",
        "ms",
        "values",
        "orgId",
        "severity",
    ]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.sampled_from(
        ["4", "1.0", "firing", "resolved", "incident.resolved", "2026-11-21T22:52:24Z", *HOSTILE]
    )
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(max_size=5), inner, max_size=8)
    ),
    max_leaves=30,
)


def read_or_refuse(kind: str, raw: bytes, headers: dict[str, str]) -> None:
    try:
        found = alerts_of(delivery(kind, raw, headers=headers))
    except InputError as exc:
        found, said = [], str(exc)
    else:
        said = "read"
    assert 0 < len(said) < 1000
    for one in found:
        assert Alert.decode(one.encode()) == one


@pytest.mark.parametrize("kind", sorted(READERS))
@settings(max_examples=150)
@given(body=ANYTHING)
def test_whatever_is_sent_is_read_or_refused(kind: str, body: object) -> None:
    read_or_refuse(kind, json.dumps(body).encode(), CLOUD if kind == "cloudevents" else JSON_TYPE)


CASES = [
    ("alertmanager", "alertmanager.json"),
    ("grafana", "grafana.json"),
    ("pagerduty", "pagerduty.json"),
    ("cloudevents", "cloudevent.json"),
    ("json", "statuspage.json"),
]


@pytest.mark.parametrize(("kind", "name"), CASES)
@settings(max_examples=100)
@given(data=st.data())
def test_a_recorded_delivery_in_which_anything_was_changed_is_read_or_refused(
    kind: str, name: str, data: st.DataObject
) -> None:
    body = value(name)
    for _ in range(data.draw(st.integers(1, 3))):
        places = [*_places(body)]
        if not places:
            break
        holder, key = data.draw(st.sampled_from(places))
        if data.draw(st.booleans()):
            holder[key] = data.draw(ANYTHING)
        elif isinstance(holder, dict):
            del holder[key]
    read_or_refuse(kind, json.dumps(body).encode(), CLOUD if kind == "cloudevents" else JSON_TYPE)


def _places(value: Any) -> Any:
    for key, inner in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield value, key
        yield from _places(inner)


@pytest.mark.parametrize(("kind", "name"), CASES)
@given(at=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_a_recorded_delivery_with_a_byte_changed_is_read_or_refused(
    kind: str, name: str, at: int, byte: int
) -> None:
    raw = bytearray(case(name))
    raw[at % len(raw)] = byte
    read_or_refuse(kind, bytes(raw), CLOUD if kind == "cloudevents" else JSON_TYPE)


@given(
    headers=st.dictionaries(
        st.sampled_from(["ce-id", "ce-source", "ce-type", "ce-specversion", "ce-time"]), st.text()
    )
)
def test_whatever_stands_in_the_headers_of_a_binary_event_is_read_or_refused(headers: dict[str, str]) -> None:
    read_or_refuse("cloudevents", b"{}", {**JSON_TYPE, "ce-specversion": "1.0", **headers})
