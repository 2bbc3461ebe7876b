"""Included runbooks: a scope of their own, within the bounds of the runbook around them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from pydantic import JsonValue

from mimrun.catalog import Catalog
from mimrun.errors import PlanError, RunbookError
from mimrun.runbook.finding import Level
from mimrun.runbook.inventory import parse_inventory
from mimrun.runbook.library import includes_from
from mimrun.runbook.lint import lint
from mimrun.runbook.loader import LoadedRunbook, parse_runbook
from mimrun.runbook.node import PlannedAction, PlannedInclude
from mimrun.runbook.plan import Plan
from mimrun.runbook.planner import make_plan

INVENTORY = parse_inventory("[web]\nweb1 zone=a\nweb2 zone=b\nweb3 zone=a\n[db]\ndb1\n")
GATE = "gate: {approvals: [{role: x}]}"
CHANGE = "ssh.command: {argv: [reboot]}"
Books = Mapping[str, str]
Planner = Callable[..., Plan]


def book(name: str, body: str, *, risk: str = "low", version: str = "1.0.0") -> str:
    head = f"schema: mimrun/1\nname: {name}\nversion: {version}\ntitle: T\nstage: containment\nowner: me\n"
    return f"{head}risk: {risk}\n{body}"


def finder(books: Books) -> Callable[[str], LoadedRunbook]:
    def find(reference: str) -> LoadedRunbook:
        if reference not in books:
            raise RunbookError(f"no runbook {reference!r}; did you mean something else?")
        return parse_runbook(books[reference], f"{reference.partition('@')[0]}.yaml")

    return find


@pytest.fixture
def plan(catalog: Catalog, versions: Mapping[str, str]) -> Planner:
    def make(outer: str, books: Books, inputs: Mapping[str, JsonValue] | None = None) -> Plan:
        loaded = parse_runbook(outer, "outer.yaml")
        return make_plan(loaded, inputs or {}, INVENTORY, catalog, versions, includes=finder(books))

    return make


def refused(make: Planner, outer: str, books: Books, inputs: Mapping[str, JsonValue] | None = None) -> str:
    with pytest.raises(PlanError) as caught:
        make(outer, books, inputs)
    return str(caught.value)


def included(name: str = "drain@1.0.0", inputs: str = "") -> str:
    return f"{{name: in, include: {{runbook: {name}{f', inputs: {inputs}' if inputs else ''}}}}}"


def action(made: Plan, path: str) -> PlannedAction:
    node = made.node(path)
    assert isinstance(node, PlannedAction)
    return node


DRAIN = book(
    "drain",
    """\
inputs:
  server: {pattern: "web[0-9]"}
  token: {type: secret, required: false}
  note: {default: none}
vars: {unit: "drain-{{ server }}"}
hosts: "{{ server }}"
limits: {failures: 0}
locks: ["balancer/{{ server }}"]
steps:
  - {name: "Look at {{ server }}", postgres.query: {sql: "{{ unit }}", params: ["{{ note }}"]}, register: seen}
  - {name: Drain, ssh.command: {argv: [drain, "{{ seen.rows }}", "{{ token }}"]}}
""",
)
OUTER = book(
    "outer",
    """\
inputs: {which: {pattern: "web[0-9]", default: web2}, secret: {type: secret, default: "env:TOKEN"}}
vars: {unit: outer-unit}
hosts: web
limits: {failures: 1}
locks: [outer]
steps:
  - name: Drain it
    when: unit == "outer-unit"
    include:
      runbook: drain@1.0.0
      inputs: {server: "{{ which }}", token: "{{ secret }}", note: "for {{ unit }}"}
  - {name: After, ssh.command: {argv: ["{{ unit }}"]}}
""",
)
BOOKS = {"drain@1.0.0": DRAIN}


def test_the_steps_of_the_other_runbook_are_part_of_the_plan(plan: Planner) -> None:
    made = plan(OUTER, BOOKS)
    node = made.node("1")
    assert isinstance(node, PlannedInclude)
    assert (node.runbook.name, node.runbook.version, node.when) == ("drain", "1.0.0", 'unit == "outer-unit"')
    assert node.runbook.digest == parse_runbook(DRAIN).digest
    assert [n.path for n in made.walk()] == ["1", "1.include.1", "1.include.2", "2"]
    assert [t.target for t in action(made, "1.include.2").targets] == ["web2"]
    assert made.connectors == {"postgres": "1.1", "ssh": "1.0"}
    assert Plan.decode(made.encode()) == made


def test_it_sees_its_own_inputs_and_vars_and_nothing_else(plan: Planner) -> None:
    made = plan(OUTER, BOOKS)
    node = made.node("1")
    assert isinstance(node, PlannedInclude)
    assert node.inputs == {"server": "web2", "token": {"secret": "env:TOKEN"}, "note": "for outer-unit"}
    assert node.vars == {"unit": "drain-web2"}
    call = action(made, "1.include.1").targets[0].calls[0]
    assert call.args == {"sql": "drain-web2", "params": ["for outer-unit"]}
    assert action(made, "1.include.1").name == "Look at web2"
    assert action(made, "1.include.2").targets[0].calls[0].late == ("seen", "token")
    assert action(made, "2").targets[0].calls[0].args == {"argv": ["outer-unit"]}


@pytest.mark.parametrize("name", ["seen", "server", "note"])
def test_nothing_of_it_is_known_outside(plan: Planner, name: str) -> None:
    outer = OUTER.replace('argv: ["{{ unit }}"]', f'argv: ["{{{{ {name} }}}}"]')
    assert f"{name!r} is undefined" in refused(plan, outer, BOOKS)


def test_nothing_around_it_is_known_inside(plan: Planner) -> None:
    books = {"drain@1.0.0": DRAIN.replace("{{ note }}", "{{ which }}")}
    assert "drain.yaml:17:81: 'which' is undefined" in refused(plan, OUTER, books)


def test_a_name_that_it_registers_hides_nothing_outside(plan: Planner) -> None:
    outer = OUTER.replace('{{ unit }}"]}}', '{{ zone }}"]}}')
    made = plan(
        outer, {"drain@1.0.0": DRAIN.replace("register: seen", "register: zone").replace("seen.", "zone.")}
    )
    assert action(made, "2").targets[0].calls[0].args == {"argv": ["a"]}


def test_locks_of_both_are_held(plan: Planner) -> None:
    assert plan(OUTER, BOOKS).locks == ("balancer/web2", "host/web1", "host/web2", "host/web3", "outer")


def test_one_character_more_in_the_other_file_is_another_digest(plan: Planner) -> None:
    assert plan(OUTER, BOOKS).digest != plan(OUTER, {"drain@1.0.0": DRAIN + "# more\n"}).digest


def test_fewer_failures_inside_are_kept(plan: Planner) -> None:
    node = plan(OUTER, BOOKS).node("1")
    assert isinstance(node, PlannedInclude)
    assert node.max_failures == 0
    node = plan(OUTER.replace("limits: {failures: 1}\n", ""), BOOKS).node("1")
    assert isinstance(node, PlannedInclude)
    assert node.max_failures is None, "both allow as many"


def simple(steps: str, more: str = "hosts: web\n") -> str:
    return book("outer", f"{more}steps: [{steps}]\n")


def other(steps: str, more: str = "hosts: web\n", *, risk: str = "low", name: str = "drain") -> Books:
    return {f"{name}@1.0.0": book(name, f"{more}steps: [{steps}]\n", risk=risk)}


ACT = f"{{name: act, {CHANGE}}}"


@pytest.mark.parametrize(
    ("outer", "books", "said"),
    [
        (
            simple(included("darin@1.0.0")),
            other(ACT),
            "outer.yaml:9:39: no runbook 'darin@1.0.0'; did you mean",
        ),
        (
            simple(included(), "hosts: web1\n"),
            other(ACT),
            "outer.yaml:9:29: drain@1.0.0 would work on web2, web3, not among the hosts",
        ),
        (
            simple(included()),
            other(ACT, risk="high"),
            "9:39: drain@1.0.0 is of high risk, and this runbook says low",
        ),
        (simple(included()), {"drain@1.0.0": DRAIN}, "9:29: drain@1.0.0: server is missing"),
        (
            simple(included(inputs="{server: db1}")),
            {"drain@1.0.0": DRAIN},
            "9:60: drain@1.0.0: server: 'db1' does not fit the pattern",
        ),
        (
            simple(included(inputs="{server: web1, servr: x}")),
            {"drain@1.0.0": DRAIN},
            "has no input 'servr'; did you mean 'server'",
        ),
        (
            simple(included()),
            other(ACT, "hosts: web\nlimits: {hosts: 2}\n"),
            "drain.yaml:9:17: the plan would touch 3 hosts, and the runbook allows 2",
        ),
        (
            simple(included()),
            other(ACT, 'hosts: web\nlimits: {share: {web: "50%"}}\n'),
            "drain.yaml:9:23: the plan may change 3 of the 3 hosts of web",
        ),
        (
            simple(included()),
            other(ACT, "hosts: web\nlimits: {domains: {by: zone}}\n"),
            "drain.yaml:10:9: changes hosts of 2 domains at once",
        ),
        (
            simple(included(), "hosts: web\nlimits: {domains: {by: zone}}\n"),
            other(ACT),
            "outer.yaml:10:9: changes hosts of 2 domains at once (zone: a, b), and 1 are allowed; put it into a block",
        ),
        (simple(included()), other("{name: act, ssh.comand: {}}"), "drain.yaml:9:21: no action 'ssh.comand'"),
        (
            simple(f"{{name: p, parallel: [{included()}, {{name: q, wait.port: {{port: 1}}}}]}}"),
            other(f"{{name: Ask, {GATE}}}, {ACT}"),
            "'Ask' of the included runbook is a gate step inside a parallel one",
        ),
        (
            simple(f"{{name: p, serial: 1, block: [{included()}]}}"),
            other(f"{{name: Roll, serial: 1, {CHANGE}}}"),
            "'Roll' of the included runbook is a serial step inside a serial one",
        ),
        (
            simple(f"{{name: p, parallel: [{included()}, {ACT.replace('ssh', 'hosts: web2, ssh')}]}}"),
            other(ACT),
            "two branches work on web2 at once",
        ),
    ],
)
def test_what_does_not_fit_is_said_at_its_place(plan: Planner, outer: str, books: Books, said: str) -> None:
    assert said in refused(plan, outer, books)


def test_runbooks_that_include_each_other_are_drawn(plan: Planner, catalog: Catalog) -> None:
    books = {
        **other(included("b@1.0.0"), name="a"),
        **other(included("c@1.0.0"), name="b"),
        **other(included("a@1.0.0"), name="c"),
    }
    drawn = "the runbook would include itself: a@1.0.0 → b@1.0.0 → c@1.0.0 → a@1.0.0"
    assert drawn in refused(plan, books["a@1.0.0"], books)
    assert drawn in refused(plan, simple(included("a@1.0.0")), books)
    found = lint(parse_runbook(books["a@1.0.0"]), catalog, includes=finder(books))
    assert [drawn in str(finding) for finding in found] == [True]
    own = other(included("a@1.0.0"), name="a")
    assert "itself: a@1.0.0 → a@1.0.0" in refused(plan, own["a@1.0.0"], own)


def test_runbooks_inside_each_other_have_an_end(plan: Planner, catalog: Catalog) -> None:
    books = {}
    for number in range(12):
        books |= other(included(f"a{number + 1}@1.0.0") if number < 11 else ACT, name=f"a{number}")
    assert "too many runbooks: 8 inside each other" in refused(plan, books["a0@1.0.0"], books)
    (finding,) = lint(parse_runbook(books["a0@1.0.0"]), catalog, includes=finder(books))
    assert "more than 8 runbooks inside each other" in str(finding)
    assert plan(books["a4@1.0.0"], books).node("1" + ".include.1" * 7)


def test_a_plan_has_an_end_where_everything_is_included_twice(plan: Planner) -> None:
    books = {}
    for number in range(8):
        books |= other(
            ", ".join([included(f"a{number + 1}@1.0.0")] * 3) if number < 7 else ACT, name=f"a{number}"
        )
    assert "100 in all are the most" in refused(plan, books["a0@1.0.0"], books)


def test_the_same_runbook_can_be_included_twice(plan: Planner) -> None:
    steps = ", ".join(included(inputs=f"{{server: web{number}}}") for number in (1, 2))
    made = plan(simple(steps), BOOKS)
    assert [t.target for t in action(made, "2.include.2").targets] == ["web2"]


def test_its_gates_are_gates_of_the_plan(plan: Planner) -> None:
    outer = simple(f"{{name: g, {GATE}}}, {included()}, {ACT}")
    made = plan(outer, other(f"{ACT}, {{name: Ask, {GATE}}}, {ACT}"))
    assert [n.path for n in made.segment_after("1")] == ["2.include.1"]
    assert [n.path for n in made.segment_after("2.include.2")] == ["2.include.3", "3"]


def test_in_batches_it_is_cut_like_everything_else(plan: Planner) -> None:
    made = plan(simple(f"{{name: p, serial: 2, block: [{included()}]}}"), other(ACT))
    first, second = (action(made, f"1.batch.{number}.block.1.include.1") for number in (1, 2))
    assert [[t.target for t in a.targets] for a in (first, second)] == [["web1", "web2"], ["web3"]]


def test_without_a_library_nothing_can_be_included(catalog: Catalog, versions: Mapping[str, str]) -> None:
    with pytest.raises(PlanError, match=r"no library was given to find drain@1.0.0 in"):
        make_plan(parse_runbook(simple(included())), {}, INVENTORY, catalog, versions)


def test_lint_says_before_the_plan_what_does_not_fit(catalog: Catalog) -> None:
    outer = simple(included(inputs="{servr: web1, note: 5, token: x}"))
    found = [f for f in lint(parse_runbook(outer), catalog, includes=finder(BOOKS)) if f.level is Level.ERROR]
    text = "\n".join(map(str, found))
    assert len(found) == 4
    assert "9:20: drain@1.0.0 needs the input 'server'" in text
    assert "drain@1.0.0 has no input 'servr'; did you mean 'server'?" in text
    assert "note: 5 must be a text" in text
    assert "token: a secret is never given as a value" in text
    high = {"drain@1.0.0": book("drain", f"steps: [{ACT}]\n", risk="high")}
    (finding,) = lint(parse_runbook(simple(included())), catalog, includes=finder(high))
    assert "is of high risk" in str(finding)
    (finding,) = lint(parse_runbook(simple(included("x@1.0.0"))), catalog, includes=finder({}))
    assert "no runbook 'x@1.0.0'" in str(finding)
    assert lint(parse_runbook(simple(included("x@1.0.0"))), catalog) == [], "not known without a library"


def test_a_library_gives_the_version_that_is_asked_for(tmp_path: Path) -> None:
    for version in ("1.0.0", "1.1.0"):
        (tmp_path / f"a@{version}.yaml").write_text(book("a", f"steps: [{ACT}]\n", version=version))
    find = includes_from([tmp_path])
    assert find("a@1.0.0").runbook.version == "1.0.0"
    assert find("a@1.0.0") is find("a@1.0.0")
    with pytest.raises(RunbookError, match=r"no version '2.0.0' of the runbook 'a'; there is 1.0.0, 1.1.0"):
        find("a@2.0.0")
