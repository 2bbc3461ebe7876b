"""Speaking with an OpenID provider over HTTP: bounded, without redirects, and encrypted unless it is this machine."""

from __future__ import annotations

import ipaddress
import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.request import HTTPRedirectHandler, Request

from mimrun.errors import SettingsError, SignInError

TIMEOUT_S: Final = 10.0
LONGEST: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What the provider said.

    Arguments:
        status: as HTTP has it.
        body: a JSON object; empty where it was none.
    """

    status: int
    body: Mapping[str, Any]

    @property
    def error(self) -> str:
        """The word for what went wrong (RFC 6749 §5.2), or ""."""
        return str(self.body.get("error", ""))[:80]


class _NoRedirect(HTTPRedirectHandler):
    """Takes a redirect for an answer: who asks A wants to hear A."""

    def redirect_request(self, *_: object) -> None:
        """Go nowhere."""


class Web:
    """The way to one provider.

    Arguments:
        issuer: its address; http only where that is this machine.
        ca_file: certificates to trust instead of the system's, or "".

    Raises:
        SettingsError: the address cannot be used, or the certificates cannot be read.
    """

    def __init__(self, issuer: str, ca_file: str = "") -> None:
        self.issuer = issuer
        require_safe(issuer, "MIMRUN_OIDC_ISSUER")
        try:
            context = ssl.create_default_context(cafile=ca_file or None)
        except (OSError, ssl.SSLError) as exc:
            raise SettingsError(f"MIMRUN_OIDC_CA_FILE={ca_file}: cannot be read: {exc}") from exc
        handlers: list[urllib.request.BaseHandler] = [
            _NoRedirect(),
            urllib.request.HTTPSHandler(context=context),
        ]
        if is_loopback(issuer):
            handlers.append(urllib.request.ProxyHandler({}))
        self._opener = urllib.request.build_opener(*handlers)

    def get(self, url: str) -> Answer:
        """Fetch a document."""
        return self._ask(url, None)

    def post(self, url: str, form: Mapping[str, str]) -> Answer:
        """Send a form."""
        return self._ask(url, urllib.parse.urlencode(form).encode())

    def _ask(self, url: str, data: bytes | None) -> Answer:
        self.require_same_safety(url)
        request = Request(url, data, {"Accept": "application/json"})  # noqa: S310 - the scheme was looked at
        try:
            with self._opener.open(request, timeout=TIMEOUT_S) as response:
                return Answer(response.status, _body(response.read(LONGEST + 1)))
        except urllib.error.HTTPError as exc:
            with exc:
                return Answer(exc.code, _body(exc.read(LONGEST + 1)))
        except (OSError, ValueError) as exc:
            reason = getattr(exc, "reason", exc)
            raise SignInError(
                f"{urllib.parse.urlsplit(url).netloc} cannot be asked: {reason}; without it, work goes on with the"
                " account of the operating system or a token"
            ) from exc

    def require_same_safety(self, url: str) -> None:
        """See that what the provider names is no less safe than the provider.

        Raises:
            SignInError: it is.
        """
        if not url.startswith("https://") and not (is_loopback(url) and is_loopback(self.issuer)):
            raise SignInError(f"the provider names {url[:200]!r}, which is not encrypted")


def require_safe(issuer: str, name: str) -> None:
    """See that an issuer's address can be used: https, or http where that is this machine.

    Raises:
        SettingsError: it cannot.
    """
    parts = urllib.parse.urlsplit(issuer)
    if parts.query or parts.fragment or parts.username or not parts.hostname or "|" in issuer:
        raise SettingsError(f"{name}={issuer!r}: give the address of the provider, https://HOST/PATH")
    if parts.scheme != "https" and not is_loopback(issuer):
        raise SettingsError(f"{name}={issuer!r}: must begin with https://; http is for this machine alone")


def is_loopback(url: str) -> bool:
    """Say whether an http address is this machine's."""
    parts = urllib.parse.urlsplit(url)
    try:
        return parts.scheme == "http" and ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return parts.scheme == "http" and parts.hostname == "localhost"


def _body(data: bytes) -> Mapping[str, Any]:
    if len(data) > LONGEST:
        raise SignInError(f"the provider answers with more than {LONGEST} bytes")
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}
