"""Pressing a button twice: a form that is sent again just as it was leads where it led, and nothing is done twice.

Each form of a page has a number of its own (`parts.html`, `p.form`). What came to something is remembered with it, and
with everything else that was sent: whoever goes back, and types something else, has that done.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

from fastapi import Request, Response

from mimrun.web.acting import Who
from mimrun.web.form_key import FIELD as FORM_KEY
from mimrun.web.form_key import FORMS

FIELD: Final = "once"
LASTS_S: Final = 3600.0
_REMEMBERED: Final = 2000


class Pressed:
    """Remembers where forms led.

    Arguments:
        monotonic: a clock in seconds.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._answers: OrderedDict[str, tuple[float, Response]] = OrderedDict()
        self._under_way: dict[str, asyncio.Event] = {}

    async def once(self, key: str, do: Callable[[], Awaitable[Response]]) -> Response:
        """Give what came of a form; do it, where nothing has come of it yet.

        Arguments:
            key: everything that was sent, and by whom.
        """
        self._forget()
        while key in self._under_way:
            await self._under_way[key].wait()
        if key in self._answers:
            return self._answers[key][1]
        self._under_way[key] = over = asyncio.Event()
        try:
            answer = await do()
            # What leads elsewhere was done; anything else says what is wrong, and may be sent again.
            if answer.status_code == 303:
                self._answers[key] = (self._monotonic(), answer)
            return answer
        finally:
            del self._under_way[key]
            over.set()

    def _forget(self) -> None:
        now = self._monotonic()
        while self._answers:
            at, _ = next(iter(self._answers.values()))
            if len(self._answers) <= _REMEMBERED and now - at < LASTS_S:
                return
            self._answers.popitem(last=False)


async def pressed_once(request: Request, who: Who, do: Callable[[Request], Awaitable[Response]]) -> Response:
    """Answer a request; a form that was sent before is answered as then."""
    key = await _key(request, who)
    if not key:
        return await do(request)
    pressed: Pressed = request.app.state.pressed
    return await pressed.once(key, lambda: do(request))


async def _key(request: Request, who: Who) -> str:
    """Give what makes a form the same form; "" where it is none of ours."""
    if request.method != "POST" or not request.headers.get("content-type", "").startswith(FORMS):
        return ""
    form = await request.form()
    if not form.get(FIELD):
        return ""
    fields = [
        (name, value if isinstance(value, str) else (value.filename, value.size))
        for name, value in form.multi_items()
        if name != FORM_KEY
    ]
    said = (who.identity.person.id, request.url.path, request.url.query, fields)
    return hashlib.sha256(repr(said).encode("utf-8", "backslashreplace")).hexdigest()
