"""Live events: what was recorded, as server-sent events, to be resumed where they broke off.

`GET /events?after=SEQ&run=RUN&incident=INC` tells of entries behind `after`, or behind the header `Last-Event-ID`, which
a browser sends by itself when it comes again. Each event says which kinds of entries, runs and incidents are concerned,
and nothing of what the entries say: a page asks for what it shows as it always does, with the permissions that count then.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Final

from fastapi import HTTPException, Query, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from mimrun.app.server.feed import Feed, News, Wanted
from mimrun.app.sign_in import doing
from mimrun.errors import LogError, MimrunError
from mimrun.log.kinds import Kind
from mimrun.web.acting import Acting, who_acts
from mimrun.web.route import does, new_router

HEARTBEAT_S: Final = 15.0
"""How often something is sent where there is nothing to tell, so that proxies keep the line and the dead are noticed."""
TOGETHER_S: Final = 0.1
"""What is recorded within so long is told together."""
RETRY_MS: Final = 2000
MOST: Final = 200
MOST_EACH: Final = 20
"""Streams at once: of all, and of one person."""
_VERB: Final = "status"
_MAY_END: Final = frozenset({Kind.SESSION_ENDED.value, Kind.TOKEN_REVOKED.value, Kind.PASSWORD_CHANGED.value})
"""Entries after which whoever watches may have no session any more."""

router: Final = new_router()


class Streams:
    """Counts who has how many streams."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of: Counter[str] = Counter()

    @property
    def total(self) -> int:
        """How many there are."""
        return self._of.total()

    def check(self, person: str) -> None:
        """See that there may be one more.

        Raises:
            HTTPException: there are too many.
        """
        if self.total >= MOST:
            raise HTTPException(503, f"{MOST} live streams are open already; load the page again later")
        if self._of[person] >= MOST_EACH:
            raise HTTPException(429, f"you have {MOST_EACH} live streams open already; close some pages")

    @contextmanager
    def one_more(self, person: str) -> Iterator[None]:
        """Have one more stream, for as long as the `with` lasts."""
        with self._lock:
            self._of[person] += 1
        try:
            yield
        finally:
            with self._lock:
                self._of[person] -= 1


@router.get("/events", response_class=StreamingResponse)
@does(_VERB)
async def events(
    request: Request,
    who: Acting,
    after: Annotated[int | None, Query(ge=0, le=2**53)] = None,
    run: Annotated[str, Query(max_length=64)] = "",
    incident: Annotated[str, Query(max_length=64)] = "",
) -> StreamingResponse:
    """Tell of what is recorded, as it is recorded."""
    feed: Feed = request.app.state.feed
    streams: Streams = request.app.state.streams
    person = who.identity.person.id
    streams.check(person)

    async def told() -> AsyncIterator[str]:
        # Counted from here on: a stream that is never begun would never be counted down.
        with streams.one_more(person):
            async for line in _stream(request, feed, _begin(request, after), Wanted(run, incident)):
                yield line

    return StreamingResponse(
        told(),
        media_type="text/event-stream",
        headers={"X-Accel-Buffering": "no", "Cache-Control": "no-store"},
    )


def _begin(request: Request, after: int | None) -> int | None:
    """Say behind which entry to begin; the browser's own word, from where it broke off, goes first."""
    last = request.headers.get("last-event-id", "")
    return int(last) if last.isascii() and last.isdecimal() and len(last) < 16 else after


async def _stream(request: Request, feed: Feed, after: int | None, wanted: Wanted) -> AsyncIterator[str]:
    loop, bell = asyncio.get_running_loop(), asyncio.Event()
    number = await run_in_threadpool(feed.watch, lambda: loop.call_soon_threadsafe(bell.set))
    try:
        at = feed.begin(after)
        yield f"retry: {RETRY_MS}\nid: {at}\n\n"
        looked = time.monotonic()
        while not feed.closed:
            bell.clear()
            try:
                news = await run_in_threadpool(feed.since, at, wanted)
            except LogError:
                return  # the page says what is wrong when it is loaded
            at = news.seq if news is not None else at
            if news:
                yield _event(news)
            if time.monotonic() - looked >= HEARTBEAT_S or (news and _MAY_END.intersection(news.kinds)):
                looked = time.monotonic()
                if not await run_in_threadpool(_still_signed_in, request):
                    return
            if news is not None:
                await asyncio.sleep(TOGETHER_S)
            elif not await _rung(bell, HEARTBEAT_S):
                yield ": still here\n\n"
    finally:
        feed.unwatch(number)


async def _rung(bell: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(bell.wait(), seconds)
    except TimeoutError:
        return False
    return True


def _still_signed_in(request: Request) -> bool:
    try:
        with doing(_VERB, "web"):
            who_acts(request)
    except MimrunError:
        return False
    return True


def _event(news: News) -> str:
    told = {name: value for name, value in asdict(news).items() if name != "all" or value}
    return f"event: log\nid: {news.seq}\ndata: {json.dumps(told, ensure_ascii=True)}\n\n"
