"""The API against its own description: whatever it is sent, it answers as it says it does, and never breaks.

Schemathesis makes the requests, right and wrong ones; half of them are about things that are there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from builders.plans import a_plan, action, gate, manual
from builders.program import token_of
from builders.runs import RESPONDER, Bench
from builders.share import of_heavy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import positive_data_acceptance

from mimrun.app.home import Home
from mimrun.app.incident.declaring import Declaration, declare
from mimrun.app.server.verifying import Verifying
from mimrun.gate.scope import VERBS
from mimrun.web.api.description import describe
from mimrun.web.api.model import PREFIX
from mimrun.web.api.routers import ROUTERS
from mimrun.web.route import VerbRoute, check_routes
from mimrun.web.security import Names
from mimrun.web.site import make_site

OPERATIONS = 56
"""So many there are at least; who adds one sees it tested by itself."""
QUICK, HEAVY = 8, 1000


class Api:
    """A site with something of everything, and its description."""

    def __init__(self, bench: Bench, home: Home) -> None:
        self.home = home
        self.site = make_site(home, Names(frozenset({"testserver"})), start=lambda *_: None)
        self.site.state.verifying = Verifying(home, begin=lambda _: None)
        self.schema = schemathesis.openapi.from_asgi(f"{PREFIX}/openapi.json", self.site)
        self.names = {
            "run": _runs(bench),
            "incident": [declare(home, RESPONDER, Declaration("nobody can pay", "high", "high"))],
            "seq": [],
            "runbook": ["service-restart", "postgres-failover@1.0.0"],
            "proposal": [],
        }
        self.names["incident"] += [bench.state(run).incident for run in self.names["run"]]
        self.names["seq"] = list(range(1, home.store.head().size + 2))
        self.tokens = [token_of(home, person) for person in ("responder", "alex", "billie")]

    def operation(self, label: str) -> Any:
        """Give one operation of the description."""
        method, path = label.split(" ")
        return self.schema[path][method]


def _runs(bench: Bench) -> list[str]:
    """Make runs that stand in every way that a run can."""
    word = {"word": "x", "answer": "lost"}
    waiting, _ = bench.run(a_plan(bench.world, gate("1"), action("2")))
    by_hand, _ = bench.run(a_plan(bench.world, manual("1"), action("2")))
    done, _ = bench.run(a_plan(bench.world, action("1")))
    doubtful, _ = bench.run(a_plan(bench.world, action("1", **word)))
    return [waiting, by_hand, done, doubtful, bench.create(a_plan(bench.world, action("1", "read")))]


def labels() -> list[str]:
    """Give every operation, from the routes alone."""

    return [
        f"{method} {route.path}"
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, VerbRoute) and route.include_in_schema
        for method in sorted(route.methods or ())
    ]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    bench = Bench(tmp_path_factory.mktemp("api"))
    with bench.home() as home:
        yield Api(bench, home)


def ask(api: Api, label: str, examples: int) -> None:
    """Send an operation whatever there may be, and hold each answer against the description."""

    @given(data=st.data(), case=api.operation(label).as_strategy())
    @settings(max_examples=examples, suppress_health_check=list(HealthCheck), database=None)
    def check(data: st.DataObject, case: schemathesis.Case) -> None:
        for name in case.path_parameters or {}:
            if api.names.get(name) and data.draw(st.booleans()):
                case.path_parameters[name] = data.draw(st.sampled_from(api.names[name]))
        headers = {"Authorization": f"Bearer {data.draw(st.sampled_from(api.tokens))}"}
        answer = case.call(headers=headers)
        # What can be asked for and is not there, or is not as it was, is refused with reason: that is no flaw.
        case.validate_response(answer, excluded_checks=[positive_data_acceptance], headers=headers)
        assert answer.status_code < 500, answer.text

    check()


@pytest.mark.parametrize("label", labels())
def test_an_operation_answers_as_it_says(api: Api, label: str) -> None:
    ask(api, label, QUICK)


@pytest.mark.heavy
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("label", labels())
def test_an_operation_answers_as_it_says_however_often_it_is_asked(api: Api, label: str) -> None:
    ask(api, label, of_heavy(HEAVY))


def test_the_description_has_every_route_of_the_api_and_no_other(api: Api) -> None:
    described = describe(api.site)
    found = {(method.upper(), path) for path, one in described["paths"].items() for method in one}
    routes = {one for one in check_routes(api.site) if one[1].startswith(PREFIX)}
    assert routes - found == {("GET", f"{PREFIX}/openapi.json")}
    assert found <= routes
    assert len(found) >= OPERATIONS
    assert sorted(labels()) == sorted(f"{method} {path}" for method, path in found)


def test_the_description_says_of_every_operation_what_it_is_and_what_it_needs(api: Api) -> None:
    described, seen = describe(api.site), set()
    verbs = check_routes(api.site)
    tags = {tag["name"] for tag in described["tags"]}
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            verb = verbs[method.upper(), path]
            assert operation["x-verb"] == verb
            assert operation["x-scope"] == VERBS[verb]
            assert VERBS[verb] in operation["description"]
            assert operation["security"] == [{"token": []}]
            assert operation["operationId"] not in seen
            seen.add(operation["operationId"])
            assert set(operation["tags"]) <= tags
            good = [code for code in operation["responses"] if code.startswith("2")]
            assert good
            assert operation["responses"][good[0]]["content"]["application/json"]["schema"]
            problem = operation["responses"]["409"]["content"]["application/problem+json"]["schema"]
            assert problem["$ref"].endswith("/Problem")
    assert "HTTPValidationError" not in described["components"]["schemas"]


def test_every_reference_in_the_description_leads_somewhere(api: Api) -> None:
    described = describe(api.site)
    schemas = described["components"]["schemas"]

    def walk(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                yield value["$ref"]
            for one in value.values():
                yield from walk(one)
        elif isinstance(value, list):
            for one in value:
                yield from walk(one)

    used = {reference.removeprefix("#/components/schemas/") for reference in walk(described)}
    assert used <= schemas.keys()
    assert schemas.keys() <= used, "what nobody refers to is not described"


def test_no_route_of_the_console_is_in_the_description(api: Api) -> None:
    assert all(path.startswith(PREFIX) for path in describe(api.site)["paths"])
