"""HTTP: ask a web service for something, and judge by its answer what it has done."""

from __future__ import annotations

import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self, TypeAlias
from urllib.parse import quote, urlsplit

from pydantic import ConfigDict, JsonValue, field_validator, model_validator

from mimrun.connector import (
    Action,
    Call,
    Connector,
    Difference,
    Effect,
    Failed,
    Field,
    Json,
    LostAnswer,
    Masker,
    Ok,
    Outcome,
    Refused,
    Secret,
    Settings,
    SettingsError,
    Unknown,
    Unreachable,
    read_secret,
)

if TYPE_CHECKING:
    import httpx

KEPT: Final = 256 * 1024
"""Bytes of an answer's body that are read."""
MORE: Final = 4096
"""Bytes beyond that, so that a secret across the cut is masked whole before the cut is made."""
DEEPEST: Final = 40
"""Levels of an answer's JSON; what is deeper is given as text."""
BIGGEST: Final = 2**53 - 1
"""Larger integers, and numbers with a fraction, are given as strings, exactly as they were sent."""
SAFE: Final = ("GET", "HEAD", "OPTIONS")
"""Methods that ask for no change. Source: RFC 9110, section 9.2.1."""
REPEATABLE: Final = ("PUT", "DELETE")
"""Methods that may be sent again. Source: RFC 9110, section 9.2.2."""
REFUSALS: Final = frozenset({401, 403, 404, 405, 411, 412, 413, 414, 415, 417, 421, 426, 428, 429, 431})
"""Answers by which a server says that it did not begin. Source: RFC 9110, section 15.5; RFC 6585. Not
among them: 400, 409 and 422, with which services also answer a batch that was half done."""
NOT_THE_SERVICE: Final = frozenset({502, 503, 504})
"""Answers of something in between: what became of the request behind it is not known."""
SHOWN: Final = ("content-type", "date", "etag", "last-modified", "location", "retry-after", "x-request-id")
OURS: Final = ("authorization", "proxy-authorization", "cookie", "content-length", "transfer-encoding")
HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
TICK: Final = 0.05

HeaderValue: TypeAlias = Annotated[str, Field(pattern=r"^[\t\x20-\x7e]*$")]
Reference: TypeAlias = Annotated[str, Field(pattern=r"^(env|file|keyring|vault):.+$")]


class HttpSettings(Settings):
    """Where the service is, and how to log in to it."""

    http_base_url: str = Field("", description="What a url that begins with / is appended to.")
    http_token_env: str = Field("", description="The environment variable that holds a bearer token.")
    http_token_file: str = Field("", description="The file that holds a bearer token.")
    http_ca_file: str = Field("", description="Certificates to trust instead of the system's.")
    http_proxy: str = Field("", description="The proxy to go through; none without it.")
    http_connect_timeout: int = Field(5, ge=1, le=120, description="Seconds until a connection must be made.")

    @field_validator("http_base_url")
    @classmethod
    def _base(cls, url: str) -> str:
        return _checked(url) if url else url


class Request(Action):
    """Send one request, and fail unless its answer has an expected status."""

    # Dumps give `json` again, so that what was dumped can be read back.
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)
    verb = "request"
    effect = Effect.ONCE
    effect_fields = frozenset({"method", "idempotency_key"})
    url: str = Field(description="Where to, with http:// or https://; or a path below http_base_url.")
    method: Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"] = Field(
        "GET", description="The HTTP method."
    )
    params: dict[str, str] = Field({}, description="Parameters to put into the url.")
    headers: dict[str, HeaderValue] = Field({}, description="Headers to send; none that hold a secret.")
    secret_headers: dict[str, Reference] = Field(
        {},
        description="Headers whose values are secrets, as references such as `env:NAME` or `vault:MOUNT/PATH#FIELD`.",
    )
    json_: JsonValue = Field(None, alias="json", description="A value to send as JSON.")
    body: str | None = Field(None, description="Text to send as it is.")
    form: dict[str, str] | None = Field(None, description="Fields to send as a form.")
    expect: tuple[Annotated[int, Field(ge=100, le=599)], ...] = Field(
        (), description="Statuses that mean success; 200 to 299 when left out."
    )
    timeout: int = Field(30, ge=1, le=3600, description="Seconds until the whole answer must be here.")
    follow_redirects: bool = Field(default=False, description="Whether to go where the server points.")
    idempotency_key: bool = Field(
        default=False,
        description="The service does a request with the same key once: send one, and send again when in doubt.",
    )
    idempotency_header: str = Field("Idempotency-Key", description="The header that carries the key.")

    @field_validator("url")
    @classmethod
    def _url(cls, url: str) -> str:
        return url if url.startswith("/") and not url.startswith("//") else _checked(url)

    @field_validator("headers", "secret_headers")
    @classmethod
    def _names(cls, headers: dict[str, str]) -> dict[str, str]:
        if wrong := [name for name in headers if not HEADER.fullmatch(name)]:
            raise ValueError(f"{wrong[0]!r} is not a header's name")
        return headers

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if sum(part is not None for part in (self.json_, self.body, self.form)) > 1:
            raise ValueError("give one of json, body and form")
        for name in self.headers:
            if name.lower() in OURS:
                raise ValueError(f"header {name} is not given here; a login goes into secret_headers")
        if self.secret_headers and self.follow_redirects:
            raise ValueError("secret_headers would follow a redirect to another host; take one of them away")
        return self

    def effect_class(self) -> Effect:
        """Give the class that the method has by RFC 9110, or that the key gives it."""
        if self.method in SAFE:
            return Effect.READ
        return Effect.IDEMPOTENT if self.method in REPEATABLE or self.idempotency_key else Effect.ONCE

    def summary(self) -> str:
        """Give the request in one line."""
        shown = self.model_dump(mode="json", exclude_defaults=True, exclude={"url", "method"})
        rest = ", ".join(f"{key}={value!r}" for key, value in shown.items())
        return f"{self.method} {self.url}" + (f"  ({rest})" if rest else "")


class Http(Connector[HttpSettings, Request]):
    """A web service. Connections are kept between requests; cookies are not."""

    name = "http"
    settings_type = HttpSettings
    actions = (Request,)

    def __init__(self, settings: HttpSettings) -> None:
        super().__init__(settings)
        self._client: httpx.Client | None = None
        self._wire = _Wire()

    def open(self) -> None:
        """Make ready to connect; the connection itself is made by the first request."""
        if self._client is not None:
            return
        import httpx  # noqa: PLC0415 - 0.2 s that only a step of this connector pays

        try:
            trusted = ssl.create_default_context(cafile=self.settings.http_ca_file or None)
        except OSError as exc:
            raise Refused(f"http: cannot read http_ca_file {self.settings.http_ca_file}: {exc}") from exc
        # Nothing is taken from mimrun's environment: neither a proxy nor a login from ~/.netrc.
        try:
            self._client = httpx.Client(
                verify=trusted,
                proxy=self.settings.http_proxy or None,
                trust_env=False,
                max_redirects=5,
                limits=httpx.Limits(max_connections=1),
            )
        except (ValueError, httpx.InvalidURL) as exc:
            raise Refused(f"http: http_proxy is not the url of a proxy: {exc}") from exc

    def close(self) -> None:
        """Close the connection that was kept."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _perform(self, action: Request, call: Call) -> Outcome:
        import httpx  # noqa: PLC0415 - see open()

        assert self._client is not None
        if call.stop.is_set() or call.left() == 0:
            return Failed("http: called off before anything was sent", clean=True)
        url = self.settings.http_base_url.rstrip("/") + action.url if action.url[0] == "/" else action.url
        asked = f"{action.method} {url.partition('?')[0]}"
        if action.url[0] == "/" and not self.settings.http_base_url:
            raise Refused(f"http: {asked}: the target has no variable http_base_url")
        secrets = self._secrets(action, url)
        # For the rest of the run: whoever says one of them later is not recorded with it, either.
        masker = call.output.masker
        masker.learn(*_hidden(secrets))
        headers = action.headers | {name: secret.reveal() for name, secret in secrets.items()}
        if action.idempotency_key:
            headers[action.idempotency_header] = quote(call.key)
        try:
            request = self._request(action, url, headers, call)
            with self._wire.watched(time.monotonic() + min(action.timeout, call.left()), call):
                status, answered, body = _send(self._client, request, follow=action.follow_redirects)
        except (httpx.RequestError, httpx.InvalidURL) as exc:
            reason = masker.mask_text(f"{asked}: {self._wire.why or exc}")
            if not self._wire.sent and (isinstance(exc, httpx.InvalidURL) or "CERTIFICATE_VERIFY" in reason):
                raise Refused(f"http: {reason}") from exc
            if not self._wire.sent:
                raise Unreachable(f"http: {reason}") from exc
            raise LostAnswer(
                f"http: {reason}; it was sent, and the answer did not come{self._wire.end}"
            ) from exc
        finally:
            self._client.cookies.clear()
        if self._wire.why:  # an answer that ends with its connection looks whole where we cut it
            raise LostAnswer(f"http: {asked}: {self._wire.why}; the answer is not whole{self._wire.end}")
        call.output.feed(stdout=masker.mask(body)[:KEPT])
        return _judge(action, asked, status, _data(status, answered, body, masker))

    def _check(self, action: Request, call: Call) -> Difference:
        if action.effect_class() is Effect.READ:
            return Difference(changes=False, detail=f"{action.method} asks for no change")
        return Difference(None, f"would send {action.summary()}; what it changes only the service knows")

    def _request(self, action: Request, url: str, headers: dict[str, str], call: Call) -> httpx.Request:
        import httpx  # noqa: PLC0415 - see open()

        assert self._client is not None
        patience = min(action.timeout, call.left()) + 1  # the watcher is first; this is behind it
        return self._client.build_request(
            action.method,
            httpx.URL(url).copy_merge_params(action.params) if action.params else url,
            # Packed answers could grow beyond every bound while they are unpacked.
            headers={"User-Agent": "mimrun", "Accept-Encoding": "identity", **headers},
            content=action.body,
            json=action.json_,
            data=action.form,
            timeout=httpx.Timeout(patience, connect=min(patience, self.settings.http_connect_timeout)),
            extensions={"trace": self._wire.trace},
        )

    def _secrets(self, action: Request, url: str) -> dict[str, Secret]:
        """Give the secret headers; the target's own login goes to the target's own origin only."""
        s = self.settings
        reference = f"env:{s.http_token_env}" if s.http_token_env else ""
        reference = f"file:{s.http_token_file}" if s.http_token_file else reference
        try:
            found = {name: read_secret(given) for name, given in action.secret_headers.items()}
            if reference and _origin(url) == _origin(s.http_base_url):
                found.setdefault("Authorization", Secret(f"Bearer {read_secret(reference).reveal()}"))
        except SettingsError as exc:
            raise Refused(f"http: {exc}") from exc
        for name, secret in found.items():
            if not secret.reveal().isascii() or not secret.reveal().isprintable():
                raise Refused(f"http: the secret for header {name} holds what no header can hold")
        return found


class _Wire:
    """The socket of the request that is going on: what was sent, and the means to end it."""

    def __init__(self) -> None:
        self.sent, self.why, self.end = False, "", ""
        self._socket: socket.socket | None = None

    def trace(self, event: str, info: Mapping[str, object]) -> None:
        """Take httpcore's word on what is happening."""
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            stream = info["return_value"]
            self._socket = stream.get_extra_info("socket")  # type: ignore[attr-defined]  # untyped event
        elif event.endswith("send_request_headers.started"):
            self.sent = True

    @contextmanager
    def watched(self, end: float, call: Call) -> Iterator[None]:
        """Cut the connection at the end of time, or when a person stops it."""
        self.sent, self.why, self.end = False, "", ""
        done = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(end, call, done), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()

    def _watch(self, end: float, call: Call, done: threading.Event) -> None:
        while not done.wait(TICK):
            if call.stop.is_set() or time.monotonic() >= end:
                self.why = "stopped by a person" if call.stop.is_set() else "no answer in time"
                self.end = "; the connection was closed, which does not prove that the service stops"
                # A read that waits in the other thread ends only by a shutdown, not by a close.
                with suppress(OSError):
                    if self._socket is not None:
                        self._socket.shutdown(socket.SHUT_RDWR)


def _send(
    client: httpx.Client, request: httpx.Request, *, follow: bool
) -> tuple[int, Mapping[str, str], bytes]:
    response = client.send(request, stream=True, follow_redirects=follow)
    try:
        body = bytearray()
        for piece in response.iter_raw():
            body += piece
            if len(body) >= KEPT + MORE:
                break
        return response.status_code, response.headers, bytes(body[: KEPT + MORE])
    finally:
        response.close()


def _judge(action: Request, asked: str, status: int, data: Mapping[str, Json]) -> Outcome:
    """Say what an answer means for the world."""
    effect = action.effect_class()
    if status in action.expect or (not action.expect and 200 <= status <= 299):
        return Ok(changed=effect is not Effect.READ, data=data)
    wanted = ", ".join(map(str, action.expect)) or "200 to 299"
    reason = f"http: {asked}: answered {status}, not {wanted}"
    # Behind a redirect the refusal is another request's: the first one was answered, and perhaps done.
    if effect is Effect.READ or (status in REFUSALS and not action.follow_redirects):
        return Failed(reason, clean=True, data=data)
    if status in NOT_THE_SERVICE:
        return Unknown(f"{reason}; what became of it behind the gateway is not known", data)
    return Failed(reason, clean=False, data=data)


def _data(status: int, headers: Mapping[str, str], body: bytes, masker: Masker) -> dict[str, Json]:
    """Give the answer as data: masked before it is cut and before it is read as JSON."""
    truncated = len(body) > KEPT
    text = masker.mask(body)[:KEPT].decode("utf-8", "replace")
    value: Json = None
    if "json" in headers.get("content-type", "") and not truncated:
        with suppress(ValueError, RecursionError):
            value = _plain(json.loads(text, parse_float=str, parse_constant=str, parse_int=_integer), DEEPEST)
    return {
        "status": status,
        "headers": {name: masker.mask_text(headers[name]) for name in SHOWN if name in headers},
        "json": value,
        "text": text if value is None else "",
        "truncated": truncated,
    }


def _hidden(secrets: Mapping[str, Secret]) -> list[Secret]:
    """Give each header's value and, since a service may quote that alone, the token behind `Bearer `."""
    values = [secret.reveal() for secret in secrets.values()]
    tokens = [value.partition(" ")[2] for value in values if " " in value]
    return [Secret(value) for value in [*values, *tokens]]


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= 17 and abs(int(digits)) <= BIGGEST else digits


def _plain(value: object, depth: int) -> Json:
    """Give JSON that the log can keep: keys in ASCII, no lone surrogates, not too deep."""
    if depth == 0:
        raise ValueError("too deep")
    match value:
        case dict():
            return {_ascii(str(key)): _plain(item, depth - 1) for key, item in value.items()}
        case list():
            return [_plain(item, depth - 1) for item in value]
        case str():
            return value.encode("utf-8", "replace").decode()
        case None | bool() | int():
            return value
        case _:
            raise ValueError(f"{type(value).__name__} is not JSON")


def _ascii(key: str) -> str:
    return key.encode("ascii", "backslashreplace").decode()


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("write http://... or https://..., or a path that begins with one /")
    if "@" in parts.netloc:
        raise ValueError("a url holds no user and password; use http_token_env or secret_headers")
    return url


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    default = 443 if parts.scheme == "https" else 80
    return parts.scheme, parts.hostname or "", parts.port or default
