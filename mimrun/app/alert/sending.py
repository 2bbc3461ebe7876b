"""Sending an alert over HTTP, as a monitoring system does: for trying the way in from end to end."""

from __future__ import annotations

import http.client
import json
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Final
from urllib.parse import quote, urlsplit

from mimrun.app.alert.intake import CONTENT_TYPES
from mimrun.app.alert.sources import read_source_secret
from mimrun.app.server.place import find_server
from mimrun.errors import AlertAuthError, InputError, StoreError
from mimrun.incident.intake.proof import Keys
from mimrun.incident.intake.signing import proof_of
from mimrun.incident.source_file import load_sources
from mimrun.settings import Settings

PATIENCE_S: Final = 15.0
_ANSWER: Final = 64 * 1024
"""Bytes of an answer that are read."""


def post_alert(
    settings: Settings, kind: str, raw: bytes, now: datetime, *, source: str = "", url: str = ""
) -> Mapping[str, int]:
    """Send bytes to a server's intake in the name of a source, with its own secret.

    Arguments:
        source: a source of alerts.yaml of this kind; "" takes the first there is.
        url: of the server, such as `https://mimrun.example.org`; "" is the one that is up here.

    Returns:
        how many alerts were `accepted`, and how many `duplicates` there were.

    Raises:
        SettingsError: alerts.yaml or the secret cannot be read.
        InputError: there is no such source or server, or it refuses the bytes.
        AlertAuthError: it does not know the source.
        StoreError: it cannot take alerts in now, or cannot be reached.
    """
    keys = _keys(settings, kind, source)
    path = f"/alerts/{quote(kind, safe='')}?source={quote(keys.name, safe='')}"
    headers = {
        "Content-Type": CONTENT_TYPES.get(kind, "application/json"),
        **proof_of(keys, raw, now, f"msg_{secrets.token_hex(12)}"),
    }
    status, answer = _post(url or _server(settings), path, raw, headers)
    said = str(answer.get("detail") or answer.get("title") or f"it answered {status}")[:500]
    if status == 200:
        return {name: _count(answer.get(name)) for name in ("accepted", "duplicates")}
    if status == 401:
        raise AlertAuthError(f"the server did not take it: {said}")
    raise (InputError if status in (400, 404, 413, 415) else StoreError)(
        f"the server did not take it: {said}"
    )


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0


def _keys(settings: Settings, kind: str, name: str) -> Keys:
    known = {n: s for n, s in load_sources(settings.alerts).by_name.items() if s.kind == kind}
    name = name or next(iter(known), "")
    if name not in known:
        raise InputError(f"{settings.alerts} has no source {name!r} of kind {kind}; name one that it has")
    source = known[name]
    tokens, signing = (
        tuple(read_source_secret(reference).reveal().encode() for reference in references[:1])
        for references in (source.token, source.secrets)
    )
    return Keys(name, source, tokens, signing)


def _server(settings: Settings) -> str:
    place = find_server(settings)
    if place is None:
        raise InputError("no server is up here; start one with `mimrun serve`, or name one with --url")
    return place.url


def _post(url: str, path: str, raw: bytes, headers: Mapping[str, str]) -> tuple[int, dict[str, object]]:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise InputError(f"{url!r} is no address of a server; write https://HOST")
    line = (http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection)(
        parts.hostname, parts.port, timeout=PATIENCE_S
    )
    try:
        line.request("POST", parts.path.rstrip("/") + path, raw, dict(headers))
        answer = line.getresponse()
        value = json.loads(answer.read(_ANSWER) or b"{}")
    except (OSError, http.client.HTTPException) as exc:
        raise StoreError(f"{url} cannot be reached: {str(exc) or type(exc).__name__}") from exc
    except ValueError as exc:
        raise StoreError(f"{url} does not answer as mimrun does; is it the right address?") from exc
    finally:
        line.close()
    return answer.status, value if isinstance(value, dict) else {}
