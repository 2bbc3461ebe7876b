"""Routes: each says which verb it does, as the command line has it, or that it is open; else the server does not start."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.routing import Mount

from mimrun.app.sign_in import doing
from mimrun.gate.scope import VERBS
from mimrun.web.acting import who_acts
from mimrun.web.form_key import check_form_key
from mimrun.web.pressed import pressed_once

_MARK: Final = "mimrun_verb"
_OPEN: Final = ""
_Endpoint = TypeVar("_Endpoint", bound=Callable[..., Any])


class RouteError(Exception):
    """A route does not say who may use it. A bug in mimrun, which is found when the server starts."""


def does(verb: str) -> Callable[[_Endpoint], _Endpoint]:
    """Mark what a route does.

    Arguments:
        verb: one of `mimrun.gate.scope.VERBS`; it says which scope a token needs, and whether an auditor may.
    """
    if verb not in VERBS:
        raise RouteError(f"no verb {verb!r} in mimrun.gate.scope")

    def mark(endpoint: _Endpoint) -> _Endpoint:
        setattr(endpoint, _MARK, verb)
        return endpoint

    return mark


def open_to_all(endpoint: _Endpoint) -> _Endpoint:
    """Mark a route that proves nobody: health, signing in, and what proves itself otherwise."""
    setattr(endpoint, _MARK, _OPEN)
    return endpoint


class VerbRoute(APIRoute):
    """A route that knows what it does, and lets what it calls know."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **given: Any) -> None:
        verb = getattr(endpoint, _MARK, None)
        if not isinstance(verb, str):
            raise RouteError(f"{path}: {endpoint.__module__}.{endpoint.__name__} does not say what it does")
        self.verb = verb
        super().__init__(path, endpoint, **given)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Give the handler: it is done by somebody who may, and the verb and the door are known in all that it calls."""
        inner, verb = super().get_route_handler(), self.verb

        async def handle(request: Request) -> Response:
            with doing(verb, "web"):
                if not verb:
                    return await inner(request)
                # Before anything of the request is read: whoever may not do it, learns nothing of what else is wrong.
                request.state.who = who = await run_in_threadpool(who_acts, request)
                await check_form_key(request)
                return await pressed_once(request, who, inner)

        return handle


def new_router(prefix: str = "", *, shown: bool = False) -> APIRouter:
    """Give a router whose routes say what they do.

    Arguments:
        shown: whether they stand in the description of the API.
    """
    return APIRouter(prefix=prefix, route_class=VerbRoute, include_in_schema=shown)


def check_routes(app: FastAPI) -> dict[tuple[str, str], str]:
    """See that every route of the server says what it does.

    Returns:
        by method and path, the verb; "" where it is open.

    Raises:
        RouteError: one does not.
    """
    found: dict[tuple[str, str], str] = {}
    for route in app.routes:
        if isinstance(route, Mount):
            if route.path != "/static":
                raise RouteError(f"{route.path} is mounted, and nothing says who may use it")
            continue
        if not isinstance(route, VerbRoute):
            raise RouteError(f"{getattr(route, 'path', route)} does not say what it does")
        for method in route.methods or ():
            found[method, route.path] = route.verb
    return found
