from __future__ import annotations

from pathlib import Path

import pytest
from builders.plans import a_plan, action

from mimrun.errors import SettingsError
from mimrun.run.cell.facts import Facts
from mimrun.runbook.plan import Plan


def plan(**inputs) -> Plan:
    made = a_plan(Path("/world"), action("1", hosts=["a", "b"]), hosts=["a", "b"], inputs=inputs)
    targets = tuple(t.model_copy(update={"vars": {**t.vars, "both": "host"}}) for t in made.targets)
    return made.model_copy(update={"vars": {"both": "constant", "only": 1}, "targets": targets})


def test_nearer_words_win_constants_host_answers_inputs() -> None:
    facts = Facts(plan())
    assert facts.variables("")["both"] == "constant"
    assert facts.variables("a")["both"] == "host"
    facts.register("both", "a", "answer", source=1)
    assert facts.variables("a")["both"] == "answer"
    facts = Facts(plan(both="input"))
    facts.register("both", "a", "answer", source=1)
    assert facts.variables("a")["both"] == "input"
    assert facts.variables("a")["only"] == 1


def test_each_host_sees_its_own_answer_and_of_several_nobody_elses() -> None:
    facts = Facts(plan())
    facts.register("seen", "a", "A", source=1)
    facts.register("seen", "b", "B", source=2)
    assert facts.variables("a")["seen"] == "A"
    assert facts.variables("b")["seen"] == "B"
    assert "seen" not in facts.variables("")


def test_an_answer_that_just_one_host_gave_is_everybodys() -> None:
    facts = Facts(plan())
    facts.register("seen", "a", "A", source=1)
    assert facts.variables("b")["seen"] == "A"
    assert facts.variables("")["seen"] == "A"


def test_every_answer_stands_among_the_variables_of_its_host() -> None:
    facts = Facts(plan())
    before = facts.variables("a")["hostvars"]
    facts.register("seen", "b", "B", source=1)
    now = facts.variables("a")["hostvars"]
    assert now["b"]["seen"] == "B"
    assert "seen" not in now["a"]
    assert now["a"]["inventory_hostname"] == "a"
    assert before["a"] == now["a"]


def test_the_digest_names_the_entries_that_answers_came_from() -> None:
    facts, same, other = Facts(plan()), Facts(plan()), Facts(plan())
    for each, source in ((facts, 5), (same, 5), (other, 6)):
        each.register("seen", "a", "A", source=source)
    assert facts.digest() == same.digest() != other.digest()
    assert facts.digest() != Facts(plan()).digest()


def test_what_was_forgotten_is_as_if_it_had_never_been_known() -> None:
    facts = Facts(plan())
    facts.register("seen", "a", "A", source=5)
    facts.forget()
    assert facts.digest() == Facts(plan()).digest()
    assert facts.variables("a") == Facts(plan()).variables("a")


def test_a_secret_is_shown_only_to_the_step_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", "hunter2-one")
    monkeypatch.setenv("YOURS", "hunter2-two")
    facts = Facts(plan(mine={"secret": "env:MINE"}, yours={"secret": "env:YOURS"}))
    assert "mine" not in facts.variables("a")
    seen = facts.variables("a", secrets=["mine", "item"])
    assert seen["mine"] == "hunter2-one"
    assert "yours" not in seen
    assert facts.masker.mask_text("hunter2-one hunter2-two") == "***** *****"


def test_a_secret_keeps_the_value_that_it_was_first_used_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", "hunter2-one")
    facts = Facts(plan(mine={"secret": "env:MINE"}))
    assert facts.masker.longest, "what lies in the environment is masked before it is used"
    monkeypatch.setenv("MINE", "hunter2-two")
    assert facts.variables("a", secrets=["mine"])["mine"] == "hunter2-two"
    monkeypatch.setenv("MINE", "hunter2-three")
    assert facts.variables("b", secrets=["mine"])["mine"] == "hunter2-two"
    assert facts.masker.mask_text("hunter2-one hunter2-two") == "***** *****", "both have been seen"


def test_a_secret_that_cannot_be_read_stops_only_who_needs_it() -> None:
    facts = Facts(plan(mine={"secret": "env:NOT_SET_HERE"}))
    assert facts.masker.longest == 0
    assert "mine" not in facts.variables("a", secrets=["item"])
    with pytest.raises(SettingsError, match=r"input mine: .*NOT_SET_HERE"):
        facts.variables("a", secrets=["mine"])


def test_a_secret_appears_nowhere_among_the_variables_of_who_does_not_name_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MINE", "hunter2-one")
    facts = Facts(plan(mine={"secret": "env:MINE"}))
    assert facts.variables("a", secrets=["mine"])["mine"] == "hunter2-one"
    for target in ("a", "b", ""):
        assert "hunter2-one" not in str(facts.variables(target)), "not by hostvars, either"


def test_what_an_earlier_worker_has_used_is_learnt_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = action("1", hosts=["a"], late=["mine"], word="{{ mine }}")
    later = action("2", hosts=["a"], late=["yours"], word="{{ yours }}")
    inputs = {"mine": {"secret": f"file:{tmp_path}/mine"}, "yours": {"secret": f"file:{tmp_path}/yours"}}
    facts = Facts(a_plan(Path("/world"), used, later, hosts=["a"], inputs=inputs))
    with pytest.raises(SettingsError, match=r"input mine: .*could not mask it any more"):
        facts.remember({"1"})
    (tmp_path / "mine").write_text("hunter2-one")
    again = Facts(facts.plan)
    again.remember({"1"})
    assert again.masker.mask_text("hunter2-one") == "*****"
