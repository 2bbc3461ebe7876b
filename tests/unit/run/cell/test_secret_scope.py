"""A secret belongs to the steps that name it: no other sees it, and no other waits for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from builders.plans import a_plan, action, call, check, gate
from builders.runs import Bench
from builders.world import lines, words

from mimrun.errors import SettingsError
from mimrun.run.cell import secrets
from mimrun.run.record.transitions import CellStatus
from mimrun.secret import Secret

FIRST, SECOND = "hunter2-first", "hunter2-second"


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "first").write_text(FIRST)
    (tmp_path / "second").write_text(SECOND)
    return {name: {"secret": f"file:{tmp_path}/{name}"} for name in ("first", "second")}


def test_a_secret_that_cannot_be_read_stops_the_step_that_names_it_before_any_effect(
    bench: Bench, inputs: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "second").unlink()
    plan = a_plan(
        bench.world,
        action("1"),
        action("2", late=["first"], word="two-{{ first }}"),
        action("3", late=["second"], word="three-{{ second }}"),
        action("4"),
        inputs=inputs,
    )
    run, verdict = bench.run(plan)
    assert verdict.status == "failed"
    assert "input second" in verdict.detail
    assert words(bench.world) == ["a:w1", f"a:two-{FIRST}"]
    cells = {key.step: cell for key, cell in bench.state(run).cells.items()}
    assert cells["3"].attempts == 0, "no intent was made"
    assert cells["3"].status is CellStatus.READY
    assert "4" not in bench.state(run).started


def test_a_step_that_ends_well_without_the_secret_it_never_names(
    bench: Bench, inputs: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "first").unlink()
    (tmp_path / "second").unlink()
    _, verdict = bench.run(a_plan(bench.world, action("1"), action("2"), inputs=inputs))
    assert verdict.status == "succeeded", verdict.detail


def test_a_secret_that_only_the_verification_names_is_fetched_before_the_effect(
    bench: Bench, inputs: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "second").unlink()
    looking = check("true").model_copy(
        update={"action": "world.idempotent", "args": {"word": "{{ second }}"}, "late": ("second",)}
    )
    _, verdict = bench.run(a_plan(bench.world, action("1", verify=looking), inputs=inputs))
    assert verdict.status == "failed"
    assert words(bench.world) == []


def test_a_secret_that_only_the_undo_names_is_not_needed_to_do_it(
    bench: Bench, inputs: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "second").unlink()
    undo = call("once", late=["second"], word="{{ second }}")
    _, verdict = bench.run(a_plan(bench.world, action("1", undo=undo), inputs=inputs))
    assert verdict.status == "succeeded"


@pytest.mark.parametrize("word", ["{{ second }}", "{{ hostvars }}", "{{ hostvars[inventory_hostname] }}"])
def test_a_step_has_no_way_to_a_secret_that_it_does_not_name(
    bench: Bench, inputs: dict[str, Any], word: str
) -> None:
    plan = a_plan(
        bench.world,
        action("1", late=["second"], word="{{ second }}"),
        action("2", late=["first", "hostvars"], word=f"{{{{ first }}}} {word}"),
        inputs=inputs,
    )
    bench.run(plan)
    assert words(bench.world)[0] == f"a:{SECOND}"
    assert SECOND not in "".join(lines(bench.world)[1:])


def test_a_secret_that_an_earlier_step_makes_is_read_when_it_is_needed(
    bench: Bench, inputs: dict[str, Any], tmp_path: Path, hooks: dict[str, Callable[[], object]]
) -> None:
    hooks["make"] = lambda: (tmp_path / "second").write_text("made-just-now")
    plan = a_plan(
        bench.world,
        action("1", "hook", word="make"),
        action("2", late=["second"], word="{{ second }}"),
        inputs=inputs,
    )
    _, verdict = bench.run(plan)
    assert verdict.status == "succeeded", verdict.detail
    assert words(bench.world)[-1] == "a:made-just-now"


def test_another_worker_goes_on_only_where_the_secrets_are_that_were_used(
    bench: Bench, inputs: dict[str, Any], tmp_path: Path
) -> None:
    plan = a_plan(
        bench.world,
        action("1", late=["first"], word="{{ first }}"),
        gate("2"),
        action("3", word=f"the target shows {FIRST}"),
        inputs=inputs,
    )
    run, verdict = bench.run(plan)
    assert verdict.status == "waiting"
    bench.approve(run)
    (tmp_path / "second").unlink()
    (tmp_path / "first").rename(tmp_path / "elsewhere")
    before = bench.state(run).seq
    with pytest.raises(SettingsError, match=r"input first: .*could not mask it any more"):
        bench.execute(run)
    assert bench.state(run).seq == before, "the run is left as it was"
    (tmp_path / "elsewhere").rename(tmp_path / "first")
    assert bench.execute(run).status == "succeeded", "the other secret was never used"


def test_the_version_that_was_used_stands_with_the_intent(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets.RunSecrets.__init__, "__kwdefaults__", _reading(Secret("hunter2-Zq8", "7")))
    for reference in ("vault:secret/portal#token", "vault:secret/portal#token@7"):
        step = action("1", late=["token"], word="Bearer {{ token }}")
        run, verdict = bench.run(a_plan(bench.world, step, inputs={"token": {"secret": reference}}))
        assert verdict.status == "succeeded", verdict.detail
        with bench.home() as home:
            args = [
                home.store.blob(entry, ref.n) or b""
                for entry in home.store.entries(run=run)
                for ref in entry.blobs
                if ref.n == "args"
            ]
        assert b"Bearer *****(vault:secret/portal#token@7)" in args[0]
        assert b"hunter2" not in args[0]


def _reading(secret: Secret) -> dict[str, Any]:
    known = dict(secrets.RunSecrets.__init__.__kwdefaults__ or {})
    return {**known, "read": lambda reference: secret}
