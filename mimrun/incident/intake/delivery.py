"""A delivery: the bytes that a source sent, once it is known that it was this source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from mimrun import canonical
from mimrun.errors import AlertTypeError, InputError
from mimrun.incident.alert import Alert, Auth, alert_key
from mimrun.incident.source import Source

JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a source sent at once.

    Arguments:
        name: of the source, in `alerts.yaml`.
        auth: how it is known that it was this source.
        raw: the bytes to read.
        headers: with names in lower case.
        digest: of the bytes as they came, before secrets were masked in them.
    """

    name: str
    source: Source
    auth: Auth
    raw: bytes
    headers: Mapping[str, str]
    digest: str = ""

    def content_type(self) -> str:
        """Give what the bytes are said to be: `application/json`.

        Raises:
            AlertTypeError: they are compressed, or in another encoding than UTF-8.
        """
        coding = self.headers.get("content-encoding", "identity").strip().lower()
        if coding != "identity":
            raise AlertTypeError(f"content-encoding {coding[:40]!r} is not read here; send it as it is")
        kind, _, rest = self.headers.get("content-type", "").partition(";")
        for parameter in rest.lower().split(";"):
            name, _, value = parameter.partition("=")
            if name.strip() == "charset" and value.strip().strip('"') not in ("utf-8", "utf8", "us-ascii"):
                raise AlertTypeError(f"charset {value.strip()[:40]} is not read here; send UTF-8")
        return kind.strip().lower()

    def require_type(self, *allowed: str) -> str:
        """Give what the bytes are said to be, which must be one of a few.

        Raises:
            AlertTypeError: it is something else.
        """
        kind = self.content_type()
        if kind not in allowed:
            raise AlertTypeError(f"content-type {kind[:60]!r} is not read here; send {' or '.join(allowed)}")
        return kind

    def alert(self, where: str, key: Iterable[str], **said: Any) -> Alert:
        """Make an alert of this delivery.

        Arguments:
            where: it stands in the delivery, for messages.
            key: what tells it from its repetition.
            said: the other fields.

        Raises:
            InputError: a field is not what it must be.
        """
        try:
            return Alert(
                source=self.name,
                key=alert_key(self.name, key),
                auth=self.auth,
                raw_digest=self.digest or canonical.digest_bytes(self.raw),
                **said,
            )
        except ValidationError as exc:
            first = exc.errors(include_url=False, include_input=False)[0]
            field = ".".join(str(part) for part in first["loc"])[:100]
            raise InputError(f"{where or 'the body'}: {field}: {first['msg'].lower()}") from None
