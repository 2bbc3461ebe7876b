"""What goes wrong, as an answer: a page for people, a problem (RFC 9457) for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from mimrun.app.masking import masker_of
from mimrun.app.program_log import Event, about, mask_with, program_log
from mimrun.app.sign_in import doing
from mimrun.errors import (
    GateError,
    InputError,
    LogError,
    MimrunError,
    NotSignedInError,
    RefusedError,
    RunError,
    SettingsError,
    SignInError,
    TooManyGuessesError,
)
from mimrun.web.acting import Who, who_acts
from mimrun.web.security import NotTakenError
from mimrun.web.wished import keep_wish

TITLES: Final[Mapping[int, tuple[str, str]]] = {
    400: ("That cannot be done so", "Go back, put right what it says, and send it again; nothing was done."),
    401: ("Sign in first", "You are not signed in, or not any more; nothing was done."),
    403: ("That is not for you to do", "Nothing was done. Somebody with the role that it names can."),
    404: ("There is nothing here", "It may be called otherwise; lists have everything that there is."),
    405: ("That cannot be done here", "Go back and use the buttons of the page; nothing was done."),
    409: ("Not as things stand", "Look at how it stands now, and decide again; nothing was done."),
    422: (
        "Something is missing or misspelt",
        "Go back, put right what it says, and send it again; nothing was done.",
    ),
    503: (
        "The server cannot do that now",
        "Nothing may be done that cannot be checked and recorded: `mimrun doctor` says what is wrong.",
    ),
}
"""What a status is called for people, and what they can do next."""
CLOSED: Final = (
    "this server cannot say now who may do what; whoever keeps it finds the reason with `mimrun doctor`"
)
"""To somebody of whom it is not known who they are: what is wrong with the server's own files is not for strangers."""
NOT_SHOWN: Final = (
    "That cannot be shown",
    "It may be called otherwise; lists have everything that there is.",
)
"""What 400 is called where nothing was sent, such as for an old link."""
OTHERWISE: Final = ("Something went wrong", "The program's own log says more: ask whoever keeps this server.")

STATUS: Final[tuple[tuple[type[MimrunError], int], ...]] = (
    (NotSignedInError, 401),
    (SignInError, 403),
    (GateError, 403),
    (TooManyGuessesError, 429),
    (RefusedError, 409),
    (InputError, 400),
    (LogError, 503),
    (RunError, 409),
    (MimrunError, 500),
)
"""What an error is in HTTP; the first that fits."""
PROBLEM: Final = "application/problem+json"


def status_of(error: MimrunError) -> int:
    """Give the status of an error."""
    return next(status for kind, status in STATUS if isinstance(error, kind))


def wants_json(request: Request) -> bool:
    """Say whether a program asks."""
    path = request.url.path
    return path.startswith(("/api/", "/alerts/")) or "text/html" not in request.headers.get("accept", "")


def problem(status: int, detail: str, more: Mapping[str, Any] | None = None) -> Response:
    """Give a problem as RFC 9457 has it.

    Arguments:
        detail: what is wrong, and what to do about it.
        more: members besides.
    """
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        **(more or {}),
    }
    # What somebody sent is repeated as it is only where it is text at all.
    whole = json.dumps(body, ensure_ascii=True)
    headers = {401: {"WWW-Authenticate": "Bearer"}, 429: {"Retry-After": "60"}, 503: {"Retry-After": "5"}}
    return Response(whole, status, headers=headers.get(status), media_type=PROBLEM)


def answer_errors(app: FastAPI) -> None:
    """Have every error answered in words."""

    def explained(request: Request, exc: Exception) -> Response:
        assert isinstance(exc, MimrunError)
        if isinstance(exc, SettingsError) and getattr(request.state, "who", None) is None:
            return _answer(request, 503, CLOSED)
        return _answer(request, status_of(exc), str(exc), exc)

    def refused(request: Request, exc: Exception) -> Response:
        assert isinstance(exc, HTTPException)
        text = str(exc.detail)
        if exc.status_code == 404 and text == HTTPStatus.NOT_FOUND.phrase:
            text = f"there is nothing at {request.url.path[:200]}"
        answer = _answer(request, exc.status_code, text)
        answer.headers.update(exc.headers or {})
        return answer

    def malformed(request: Request, exc: Exception) -> Response:
        assert isinstance(exc, RequestValidationError)
        first = exc.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
        return _answer(request, 422, f"{where}: {first['msg']}")

    app.add_exception_handler(Exception, _broke)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(MimrunError, explained)
    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(RequestValidationError, malformed)


def _gone(_request: Request, _exc: Exception) -> Response:
    """Answer whom nobody reads any more: a line that breaks is no bug, and nothing was done."""
    return problem(400, "the body broke off")


def _broke(request: Request, exc: Exception) -> Response:
    """Answer what a bug has broken: the program log is told all of it, and whoever asked nothing."""
    if isinstance(exc, NotTakenError):
        return _gone(request, exc)
    settings = request.app.state.home.settings
    with about():
        mask_with(masker_of(settings))
        program_log(settings).error(
            Event.SERVER_BROKE,
            error=type(exc).__name__,
            request=f"{request.method} {request.url.path}"[:200],
            exc_info=exc,
        )
    return _answer(request, 500, "this is a bug in mimrun; the program log says more")


def _answer(request: Request, status: int, text: str, error: MimrunError | None = None) -> Response:
    from mimrun.web.page import is_fragment, show  # noqa: PLC0415 - pages raise these errors

    if wants_json(request):
        return problem(status, text, _places(error))
    if status == 401 and not is_fragment(request) and request.method == "GET":
        answer = RedirectResponse("/sign-in", status_code=303)
        keep_wish(request, answer)
        return answer
    who = _who(request)
    looked = status == 400 and request.method == "GET"
    title, what_next = NOT_SHOWN if looked else TITLES.get(status, OTHERWISE)
    return show(
        request, who, "error.html", status=status, code=status, title=title, text=text, next=what_next
    )


def _who(request: Request) -> Who | None:
    """Say who reads what went wrong, where that is known or can be found: also where there is no such page."""
    known: Who | None = getattr(request.state, "who", None)
    if known is None and request.method == "GET":
        with suppress(MimrunError), doing("status", "web"):
            known = who_acts(request)
    return known


def _places(error: MimrunError | None) -> Mapping[str, Any]:
    """Give each thing that is wrong, where there are several."""
    if not isinstance(error, InputError) or not error.problems:
        return {}
    return {"problems": [asdict(one) for one in sorted(error.problems)]}
