"""An OpenID provider on the loopback address: real HTTP, real keys, and as dishonest as a test wants."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
import urllib.parse
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from joserfc import jws
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

RSA = RSAKey.generate_key(2048, {"kid": "rsa-1", "use": "sig"})
OTHER_RSA = RSAKey.generate_key(2048, {"kid": "rsa-2", "use": "sig"})
EC = ECKey.generate_key("P-256", {"kid": "ec-1", "use": "sig"})
ED = OKPKey.generate_key("Ed25519", {"kid": "ed-1", "use": "sig"})


def b64(data: bytes) -> str:
    """Write bytes as JOSE does."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign(claims: dict[str, Any], key: Key = RSA, alg: str = "RS256", **header: Any) -> str:
    """Give a signed token."""
    head = {"alg": alg, "kid": key.kid, **header}
    head = {name: value for name, value in head.items() if value is not None}
    return jws.serialize_compact(head, json.dumps(claims).encode(), key, algorithms=[alg])


def unsigned(claims: dict[str, Any], alg: str = "none") -> str:
    """Give a token that nobody signed."""
    parts = ({"alg": alg, "kid": RSA.kid}, claims)
    return ".".join(b64(json.dumps(part).encode()) for part in parts) + "."


def signed_with_public_key(claims: dict[str, Any]) -> str:
    """Give a token whose shared secret is what everybody can read: the provider's public key."""
    head = b64(json.dumps({"alg": "HS256", "kid": RSA.kid}).encode())
    said = f"{head}.{b64(json.dumps(claims).encode())}"
    return f"{said}.{b64(hmac.digest(RSA.as_pem(private=False), said.encode(), 'sha256'))}"


class Provider:
    """A provider with one client.

    Arguments:
        subject: who signs in.
        forge: makes the ID token out of its claims; an honest one where None.
    """

    def __init__(self, subject: str = "8d1f", client: str = "mimrun") -> None:
        self.subject, self.client = subject, client
        self.keys: list[Key] = [RSA]
        self.forge: Callable[[dict[str, Any]], str] = sign
        self.described: dict[str, Any] = {}
        self.answers: dict[str, str] = {}
        self.pending, self.refusal = 0, ""
        self.asked: list[str] = []
        self._codes: dict[str, dict[str, str]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self.issuer = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def claims(self, **more: Any) -> dict[str, Any]:
        """Give what an honest token says now."""
        now = int(time.time())
        about = {"iss": self.issuer, "aud": self.client, "sub": self.subject, "email": "alex@example.org"}
        return {**about, "iat": now, "exp": now + 300, **more}

    def document(self) -> dict[str, Any]:
        """Give the provider's description of itself."""
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "device_authorization_endpoint": f"{self.issuer}/device",
            "jwks_uri": f"{self.issuer}/keys",
            **self.described,
        }

    def authorize(self, query: dict[str, str]) -> str:
        """Give where the browser is sent back to, when the person has signed in."""
        assert query["response_type"] == "code"
        assert query["code_challenge_method"] == "S256"
        assert query["client_id"] == self.client
        code = secrets.token_urlsafe(16)
        self._codes[code] = query
        answer = {"code": code, "state": query["state"], "iss": self.issuer, **self.answers}
        return f"{query['redirect_uri']}?{urllib.parse.urlencode(answer)}"

    def token(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """Answer at the token endpoint."""
        if form["grant_type"] == "authorization_code":
            query = self._codes.pop(form["code"], None)
            proof = b64(hashlib.sha256(form["code_verifier"].encode()).digest())
            if (
                query is None
                or proof != query["code_challenge"]
                or form["redirect_uri"] != query["redirect_uri"]
            ):
                return 400, {"error": "invalid_grant"}
            return 200, {"id_token": self.forge(self.claims(nonce=query["nonce"])), "token_type": "Bearer"}
        if self.pending > 0:
            self.pending -= 1
            return 400, {"error": "slow_down" if self.pending == 1 else "authorization_pending"}
        if self.refusal or form["device_code"] != "device-1":
            return 400, {"error": self.refusal or "invalid_grant"}
        return 200, {"id_token": self.forge(self.claims()), "token_type": "Bearer"}

    def answer(self, path: str, values: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """Answer a request."""
        self.asked.append(path)
        match path:
            case "/.well-known/openid-configuration":
                return 200, self.document()
            case "/keys":
                return 200, {"keys": [key.as_dict(private=False) for key in self.keys]}
            case "/device":
                begun = {
                    "device_code": "device-1",
                    "user_code": "ABCD-EFGH",
                    "expires_in": 300,
                    "interval": 1,
                }
                return 200, {**begun, "verification_uri": f"{self.issuer}/activate"}
            case "/token":
                return self.token(values)
            case _:
                return 404, {}


def _handler(provider: Provider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urllib.parse.urlsplit(self.path)
            values = dict(urllib.parse.parse_qsl(parts.query))
            if parts.path == "/authorize":
                self.send_response(302)
                self.send_header("Location", provider.authorize(values))
                self.end_headers()
            else:
                self._answer(parts.path, values)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self._answer(self.path, dict(urllib.parse.parse_qsl(body)))

        def _answer(self, path: str, values: dict[str, str]) -> None:
            status, body = provider.answer(path, values)
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    return Handler
