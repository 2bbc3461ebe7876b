"""The description of the API, as OpenAPI 3.1: made of its routes alone, and of what every one of them may answer."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse

from mimrun import __version__
from mimrun.gate.scope import VERBS
from mimrun.web.api.model import PREFIX, Problem
from mimrun.web.errors import PROBLEM
from mimrun.web.route import VerbRoute, new_router, open_to_all

router: Final = new_router(PREFIX)
PATH: Final = f"{PREFIX}/openapi.json"
_ABOUT: Final = """\
Runs versioned runbooks during a major incident: planned, gated, recorded, provable.

Sign in with a token: `Authorization: Bearer mimrun_…`. Each operation says which scope the token needs
(`mimrun token scopes`). A browser's session counts as well; what changes something then needs its form key in
`X-Form-Key`.

Lists come in pages: `next` is asked for as `after`, where the oldest is first, or as `before`, where the newest is.
What creates something takes an `Idempotency-Key`: asked again with the same key, nothing is done twice.
"""
_TAGS: Final = {
    "runs": "Runs: launched, stopped, gone on with, taken back; their gates, manual steps and doubts.",
    "incidents": "Incidents and their timelines.",
    "alerts": "Alerts that came in.",
    "proposals": "Plans that rules made of alerts, and that wait for a person.",
    "runbooks": "The library, and plans made of it.",
    "log": "The incident log, read and verified.",
    "control": "Who acts, and the kill switch.",
}
_PROBLEMS: Final = (400, 401, 403, 404, 405, 408, 409, 413, 415, 421, 422, 429, 500, 503)


@router.get("/openapi.json")
@open_to_all
def openapi(request: Request) -> JSONResponse:
    """Describe the API."""
    return JSONResponse(describe(request.app))


def describe(app: FastAPI) -> dict[str, Any]:
    """Give the description of the API of an application; made once."""
    known: dict[str, Any] | None = app.openapi_schema
    if known is None:
        app.openapi_schema = known = _describe(app)
    return known


def _describe(app: FastAPI) -> dict[str, Any]:
    routes = [route for route in app.routes if isinstance(route, VerbRoute) and route.include_in_schema]
    made = get_openapi(
        title="mimrun",
        version=__version__,
        openapi_version="3.1.0",
        description=_ABOUT,
        routes=routes,
        tags=[{"name": name, "description": about} for name, about in _TAGS.items()],
    )
    verbs = {(method.lower(), route.path): route.verb for route in routes for method in route.methods or ()}
    for path, operations in made["paths"].items():
        for method, operation in operations.items():
            _finish(operation, verbs[method, path], path, method)
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs"))
    schemas["Problem"] = problem
    made["components"]["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "description": "A token of `mimrun token create`."},
    }
    return made


def _finish(operation: dict[str, Any], verb: str, path: str, method: str) -> None:
    """Say of an operation what all of them have in common."""
    parts = path.removeprefix(f"{PREFIX}/").split("/")
    noun = "runbooks" if parts[0] == "plans" else parts[0]
    operation["tags"] = [noun if noun in _TAGS else "control"]
    words = [part for part in parts if not part.startswith("{")]
    named = any(part.startswith("{") for part in parts)
    operation["operationId"] = "_".join(
        [method, *words, *(["one"] if named and len(words) == 1 else [])]
    ).replace("-", "_")
    scope = VERBS[verb]
    operation["description"] = (
        f"{operation.get('description', '')}\n\nNeeds the scope `{scope}`, as `mimrun {verb}` does."
    )
    operation["security"] = [{"token": []}]
    operation["x-scope"], operation["x-verb"] = scope, verb
    answers = {code: said for code, said in operation["responses"].items() if code != "422"}
    for code in _PROBLEMS:
        answers[str(code)] = {
            "description": HTTPStatus(code).phrase,
            "content": {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
    operation["responses"] = answers
