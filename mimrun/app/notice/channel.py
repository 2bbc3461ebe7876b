"""Channels: handing a message to Apprise, which speaks with chats, pagers and mail servers."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import Final
from urllib.parse import quote, urlsplit

from mimrun.errors import ConnectorError, Unreachable
from mimrun.secret import Masker, Secret

PLACE: Final = "{email}"
"""Where a person's own address goes, in the address of a channel that writes to each."""


def send(address: Secret, title: str, text: str, *, emails: tuple[str, ...] = ()) -> None:
    """Send a message, to each of some people where the address has a place for them.

    Arguments:
        address: as Apprise writes it; it may hold a password and is never shown.
        emails: of the people, for an address with `{email}` in it.

    Raises:
        ConnectorError: not everybody was told; says why, without the address.
    """
    import apprise  # noqa: PLC0415 - slow to load, and needed only where somebody is told something

    plain = address.reveal().strip()
    urls = [plain.replace(PLACE, quote(email, safe="@")) for email in emails] if PLACE in plain else [plain]
    if not urls:
        raise Unreachable("nobody with an e-mail address is known for this; give one in people.yaml")
    masker, said = Masker([address, *map(Secret, urls), *_passwords(plain)]), StringIO()
    with _heard(said):
        for url in urls:
            way = apprise.Apprise()
            if not way.add(url):
                raise ConnectorError("the channel's address is not one that Apprise knows: SCHEME://...")
            if not way.notify(body=text, title=title, body_format=apprise.NotifyFormat.TEXT):
                lines = said.getvalue().strip().splitlines()
                raise Unreachable(masker.mask_text(lines[-1] if lines else "it was not taken")[:300])


def _passwords(address: str) -> list[Secret]:
    parts = urlsplit(address)
    return [Secret(word) for word in (parts.password, parts.query) if word]


@contextmanager
def _heard(said: StringIO) -> Iterator[None]:
    """Keep what Apprise says of a failure, which it says to its log only."""
    log, handler = logging.getLogger("apprise"), logging.StreamHandler(said)
    before, log.propagate = log.propagate, False
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.propagate = before
