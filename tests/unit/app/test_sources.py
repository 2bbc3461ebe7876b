"""The runbooks that a plan was made of go into the log with it, and from there into a bundle."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from builders.bundles import alone, members

from mimrun import canonical
from mimrun.app.exports import export_bundle
from mimrun.app.home import Home, lay_home, open_home
from mimrun.app.identity import identify
from mimrun.app.plans import prepare_plan
from mimrun.app.runs import create_run, find_run
from mimrun.log.kinds import Kind, PlanFrozen
from mimrun.log.proof.bundle import CLASSES
from mimrun.log.proof.opened import verify_bundle
from mimrun.runbook.plan import Plan
from mimrun.settings import Settings

HEAD = "schema: mimrun/1\nversion: 1.0.0\nstage: containment\nowner: me\nrisk: low\n"
STEP = "  - {name: Look, local.command: {argv: ['true']}}\n"
OUTER = (
    HEAD + "name: outer\ntitle: Außen\nsteps:\n" + STEP + "  - {name: In, include: {runbook: inner@1.0.0}}\n"
)
INNER = HEAD + "name: inner\ntitle: Inner\nsteps:\n" + STEP


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    library = tmp_path / "library"
    library.mkdir()
    (library / "outer.yaml").write_text(OUTER, "utf-8")
    (library / "inner.yaml").write_text(INNER, "utf-8")
    monkeypatch.setattr("mimrun.app.plans.library_folders", lambda: [library])
    made = Settings(home=tmp_path / "home")
    lay_home(made)
    return made


def launched(home: Home) -> tuple[Plan, str]:
    plan = prepare_plan(home, "outer", [], [])
    return plan, create_run(home, plan, identify(home.people(), None), direct=True)


def test_every_source_is_in_the_log_by_its_digest(settings: Settings) -> None:
    with open_home(settings) as home:
        plan, run = launched(home)
        entry = next(home.store.entries(run=run, kinds={Kind.PLAN_FROZEN}))
        assert isinstance(entry.body, PlanFrozen)
        kept = json.loads(home.store.blob(entry, "runbooks") or b"")
    assert kept == {canonical.digest_bytes(text.encode()): text for text in (OUTER, INNER)}
    assert entry.body.runbook_digest == canonical.digest_bytes(OUTER.encode())
    assert plan == Plan.decode(plan.encode()), "they are no part of what is approved"
    assert plan.digest == Plan.decode(plan.encode()).digest


@pytest.mark.parametrize(("classes", "there"), [(CLASSES, 2), (("plan",), 2), (("output", "text"), 0)])
def test_a_bundle_has_them_as_files(
    settings: Settings, tmp_path: Path, classes: tuple[str, ...], there: int
) -> None:
    with open_home(settings) as home:
        _, run = launched(home)
        incident = find_run(home, run).summary.incident
        path = tmp_path / "x.mimlog"
        export_bundle(home, path, incident, None, classes=classes)  # type: ignore[arg-type]
    sources = [data for name, data in members(path).items() if name.startswith("runbooks/")]
    assert sorted(sources) == sorted([OUTER.encode(), INNER.encode()])[:there]
    assert verify_bundle(path).ok, str(verify_bundle(path))
    assert alone(path)["ok"], alone(path)


def test_a_run_that_repeats_another_has_its_runbooks(settings: Settings) -> None:
    with open_home(settings) as home:
        plan, run = launched(home)
        again = Plan.decode(canonical.encode(json.loads(plan.encode()) | {"retry_of": run}))
        assert not again.sources
        repeated = create_run(home, again, identify(home.people(), None), direct=True)
        entries = [next(home.store.entries(run=name, kinds={Kind.PLAN_FROZEN})) for name in (run, repeated)]
        first, second = (home.store.blob(entry, "runbooks") for entry in entries)
    assert first == second
