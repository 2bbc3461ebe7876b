"""Alerts in: `POST /alerts/KIND`. Whoever sends them proves it by the bytes themselves, and not by signing in.

Threads of their own take them in, so that a storm of alerts and the pages of people do not wait for each other. A lone
alert is taken in at once; in a storm what comes within a moment is taken in together, by one append. More than can be
taken soon is told to come again.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from mimrun.app.alert.intake import Arrival, Intake, Received
from mimrun.errors import (
    AlertAuthError,
    AlertTooLargeError,
    AlertTypeError,
    InputError,
    IntakeClosedError,
    LogError,
    MimrunError,
)
from mimrun.log.moment import utc_now
from mimrun.web.errors import problem
from mimrun.web.route import VerbRoute, open_to_all
from mimrun.web.security import Receive, Scope, Send

THREADS: Final = 2
"""While one waits for the disk, the other reads what has come since."""
GATHER_S: Final = 0.01
"""In a storm so long passes between two appends; each costs as much as reading several alerts does."""
TOGETHER: Final = 64
"""Deliveries that are taken in together at most,"""
TOGETHER_BYTES: Final = 1024 * 1024
"""and after so many bytes no more of them."""
WAITING: Final = 512
"""Deliveries that may wait."""
LATER_S: Final = 5
"""After so many seconds what could not be taken now is to come again."""
_STATUS: Final[tuple[tuple[type[MimrunError], int], ...]] = (
    (AlertAuthError, 401),
    (AlertTooLargeError, 413),
    (AlertTypeError, 415),
    (InputError, 400),
    (IntakeClosedError, 503),
    (LogError, 503),
)

_Answer: TypeAlias = "asyncio.Future[Received | MimrunError]"


class PlainRoute(VerbRoute):
    """A route whose function takes the request as it is. Five hundred in a second leave no time for more."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **given: Any) -> None:
        super().__init__(path, endpoint, **given)
        self.app = self._answer

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        response: Response = await self.endpoint(request)
        await response(scope, receive, send)


router: Final = APIRouter(route_class=PlainRoute, include_in_schema=False)


class Door:
    """Where alerts come in at a server.

    Arguments:
        intake: takes them.
    """

    def __init__(self, intake: Intake) -> None:
        self.intake = intake
        self._waiting: deque[tuple[Arrival, _Answer]] = deque()
        self._changed = threading.Condition()
        self._turn = threading.Lock()
        self._taken_at = 0.0
        self._threads: list[threading.Thread] = []

    async def take(self, arrival: Arrival) -> Received:
        """Take in a delivery; see `Intake.receive`.

        Raises:
            IntakeClosedError: too many wait already.
        """
        answer: _Answer = asyncio.get_running_loop().create_future()
        with self._changed:
            full = len(self._waiting) >= WAITING
            if not full:
                self._waiting.append((arrival, answer))
                self._changed.notify()
            while len(self._threads) < THREADS:
                thread = threading.Thread(target=self._work, name="mimrun-intake", daemon=True)
                self._threads.append(thread)
                thread.start()
        if full:
            refused = IntakeClosedError("too many alerts wait to be taken in")
            self.intake.counts.count(refused)
            raise refused
        received = await answer
        if isinstance(received, MimrunError):
            raise received
        return received

    def _work(self) -> None:
        while True:
            taken = self._next()
            try:
                found: Sequence[Received | MimrunError] = self.intake.receive_all([one for one, _ in taken])
            except Exception as exc:  # noqa: BLE001 - a bug is told to whoever waits, and the next ones are taken
                for _, answer in taken:
                    answer.get_loop().call_soon_threadsafe(_break, answer, exc)
                continue
            loop = taken[0][1].get_loop()
            loop.call_soon_threadsafe(_settle, [answer for _, answer in taken], found)

    def _next(self) -> list[tuple[Arrival, _Answer]]:
        """Give what waits, as far as it is taken in together; waits until there is something."""
        with self._turn:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
            # Not by the condition: whoever is woken by each that comes has gathered nothing.
            time.sleep(max(0.0, self._taken_at + GATHER_S - time.monotonic()))
            self._taken_at = time.monotonic()
            with self._changed:
                taken, size = [self._waiting.popleft()], 0
                while self._waiting and len(taken) < TOGETHER:
                    size += len(self._waiting[0][0].raw)
                    if size > TOGETHER_BYTES:
                        break
                    taken.append(self._waiting.popleft())
            return taken


def _settle(answers: Sequence[_Answer], found: Sequence[Received | MimrunError]) -> None:
    for answer, one in zip(answers, found, strict=True):
        if not answer.done():  # whoever waited may have gone
            answer.set_result(one)


def _break(answer: _Answer, error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)


@router.post("/alerts/{kind}")
@open_to_all
async def take_alerts(request: Request) -> Response:
    """Take in what a monitoring system sends."""
    door: Door = request.app.state.alerts
    kind, source = str(request.path_params["kind"]), request.query_params.get("source", "")
    raw = await request.body()
    try:
        received = await door.take(Arrival(kind, raw, _headers(request), utc_now(), source))
    except MimrunError as exc:
        return _refusal(exc)
    return JSONResponse({"accepted": received.accepted, "duplicates": received.duplicates})


@router.options("/alerts/cloudevents")
@open_to_all
async def agree_to_events(_request: Request) -> Response:
    """Agree to be sent CloudEvents, by anybody who then proves who they are ("HTTP 1.1 Web Hooks", section 4)."""
    return Response(status_code=204, headers={"WebHook-Allowed-Origin": "*", "WebHook-Allowed-Rate": "*"})


def _headers(request: Request) -> dict[str, str]:
    """Give the headers; one that comes twice is none: two readers could take it for different ones."""
    pairs = [(name.decode("latin-1").lower(), text.decode("latin-1")) for name, text in request.headers.raw]
    times = Counter(name for name, _ in pairs)
    return {name: text for name, text in pairs if times[name] == 1}


def _refusal(error: MimrunError) -> Response:
    """Say why nothing was taken. Whoever is not known is told one thing, and not what was wrong."""
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    answer = problem(status, str(error))
    if status == 401:
        answer.headers["WWW-Authenticate"] = "Bearer"
    if status == 503:
        answer.headers["Retry-After"] = str(LATER_S)
    return answer
