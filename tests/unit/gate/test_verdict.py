"""The whole question of a gate: terms, votes, the freeze, the change record, and everything that voids them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimrun.errors import GateError
from mimrun.gate.approval import (
    FREEZE_ROLE,
    ChangeStanding,
    Closed,
    ClosedBy,
    Decision,
    Open,
    Purpose,
    Question,
    Request,
    Vote,
    Waiting,
    check_gate,
)
from mimrun.gate.decision import Word, check_voter, check_withdrawal
from mimrun.gate.people import People, Person
from mimrun.gate.terms import Terms
from mimrun.runbook.model import Needed, OnTimeout

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
SHOWN = "sha256:" + "a" * 64
KEY = "ssh-key:SHA256:abc"


def person(name: str, *roles: str, accounts: Sequence[str] = ()) -> Person:
    return Person(name, name, frozenset(roles), frozenset(accounts))


STAFF = People(
    {
        p.id: p
        for p in (
            person("launcher", "change_manager", FREEZE_ROLE),
            person("alex", "change_manager", accounts=("aromero", "aromero-adm")),
            person("billie", "change_manager", FREEZE_ROLE),
            person("casey", FREEZE_ROLE),
            person("dana", "executive"),
            person("eli", "major_incident_manager"),
        )
    }
)
MANAGER = Needed(role="change_manager")
LEADER = Needed(role="major_incident_manager")


def at(seconds: int) -> datetime:
    return NOW + timedelta(seconds=seconds)


def terms(
    *approvals: Needed, change: str = "none", freeze: bool = False, signed: bool = False, refused: str = ""
) -> Terms:
    return Terms.model_validate(
        {
            "approvals": approvals,
            "change": change,
            "freeze_override": freeze,
            "signed": signed,
            "refused": refused,
            "expires_ms": 1_800_000,
            "on_timeout": OnTimeout.ESCALATE,
            "escalation": ("executive", "board"),
            "because": "the policy for this",
        }
    )


def asked(
    wanted: Terms,
    *,
    change: ChangeStanding | None = None,
    by_policy: bool = False,
    broken: bool = False,
    rounds: int = 0,
    question: Question | None = None,
) -> Request:
    return Request(
        SHOWN,
        wanted,
        NOW,
        frozenset({"launcher"}),
        asked=question or Question.of(wanted),
        since=at(60) if rounds else None,
        rounds=rounds,
        by_policy=by_policy,
        change=change,
        frozen="production is frozen until 2026-11-23 06:00 UTC" if wanted.freeze_override else "",
        broken=broken,
    )


def yes(name: str, after_s: int = 10, purpose: Purpose = "approval", auth: str = "os-user") -> Vote:
    return Vote(name, Decision.APPROVED, SHOWN, at(after_s), "ok", None, auth, purpose)


def override(name: str, after_s: int = 10) -> Vote:
    return yes(name, after_s, "freeze_override")


def said(name: str, decision: Decision, after_s: int = 20) -> Vote:
    return replace(yes(name, after_s), decision=decision)


FINE = ChangeStanding(ref="rt 42")
AGAINST = ChangeStanding(ref="rt 42", reasons=("state is draft; it must be scheduled or implement",))


@dataclass(frozen=True)
class Case:
    """A question, what was said, and the verdict that must come of it: open by what, or what stands in the way."""

    request: Request
    votes: tuple[Vote, ...]
    verdict: str
    seconds: int = 30


CASES = {
    "enough people": Case(asked(terms(MANAGER)), (yes("alex"),), "approvals"),
    "roles are ANDed": Case(asked(terms(MANAGER, LEADER)), (yes("alex"),), "1 major_incident_manager"),
    "both roles": Case(asked(terms(MANAGER, LEADER)), (yes("alex"), yes("eli")), "approvals"),
    "launcher": Case(asked(terms(MANAGER)), (yes("launcher"),), "1 change_manager"),
    "the second account of one person": Case(
        asked(terms(Needed(role="change_manager", count=2))),
        (yes("alex"), yes("aromero"), yes("aromero-adm")),
        "1 change_manager",
    ),
    "the policy asks for nothing": Case(asked(terms(), by_policy=True), (), "policy"),
    "nobody is named, and no policy says so": Case(asked(terms()), (), "names nobody"),
    "refused, whoever agrees": Case(
        asked(terms(MANAGER, refused="nothing of high risk in a freeze")),
        (yes("alex"),),
        "nobody can allow it",
    ),
    "a freeze that only its approval answers": Case(
        asked(terms(MANAGER, freeze=True)),
        (yes("alex"),),
        "until 2026-11-23 06:00 UTC; a freeze approver must",
    ),
    "a freeze override by somebody else": Case(
        asked(terms(MANAGER, freeze=True)), (yes("alex"), override("casey")), "approvals"
    ),
    "a freeze override alone": Case(
        asked(terms(MANAGER, freeze=True)), (override("casey"),), "1 change_manager"
    ),
    "one person cannot approve and override": Case(
        asked(terms(MANAGER, freeze=True)), (yes("billie"), override("billie")), "1 freeze_approver"
    ),
    "an approval is no override, whoever gave it": Case(
        asked(terms(MANAGER, freeze=True)), (yes("alex"), yes("billie")), "1 freeze_approver"
    ),
    "an override without the role": Case(
        asked(terms(MANAGER, freeze=True)), (yes("alex"), override("eli")), "1 freeze_approver"
    ),
    "the launcher overrides no freeze": Case(
        asked(terms(MANAGER, freeze=True)), (yes("alex"), override("launcher")), "1 freeze_approver"
    ),
    "unsigned where signatures count": Case(
        asked(terms(MANAGER, signed=True)), (yes("alex"),), "1 change_manager"
    ),
    "signed": Case(asked(terms(MANAGER, signed=True)), (yes("alex", auth=KEY),), "approvals"),
    "signed, then anew without": Case(
        asked(terms(MANAGER, LEADER, signed=True)),
        (yes("alex", auth=KEY), yes("eli")),
        "1 major_incident_manager",
    ),
    "an approval in the change system is not signed": Case(
        asked(terms(MANAGER, signed=True), change=replace(FINE, votes=(yes("alex", auth="change:rt"),))),
        (),
        "1 change_manager",
    ),
    "a change that allows it": Case(asked(terms(change="normal"), change=FINE), (), "approvals"),
    "a standing change": Case(asked(terms(change="standard"), change=FINE), (), "standard_change"),
    "a change that is not ready": Case(
        asked(terms(MANAGER, change="normal"), change=AGAINST), (yes("alex"),), "change: state is draft"
    ),
    "a change is needed, and no rule was asked": Case(asked(terms(change="normal")), (), "names nobody"),
    "a change that was rejected": Case(
        asked(
            terms(MANAGER, change="normal"), change=replace(AGAINST, rejected="rt 42 was rejected by ana: no")
        ),
        (yes("alex"),),
        "rt 42 was rejected by ana: no",
    ),
    "an approver in the change system counts": Case(
        asked(
            terms(MANAGER, LEADER, change="normal"),
            change=replace(FINE, votes=(yes("eli", auth="change:rt"),)),
        ),
        (yes("alex"),),
        "approvals",
    ),
    "one person here and there counts once": Case(
        asked(
            terms(Needed(role="change_manager", count=2), change="normal"),
            change=replace(FINE, votes=(yes("alex", auth="change:rt"),)),
        ),
        (yes("aromero"),),
        "1 change_manager",
    ),
    "taken back": Case(
        asked(terms(MANAGER)), (yes("alex"), said("alex", Decision.WITHDRAWN)), "1 change_manager"
    ),
    "taken back under another account": Case(
        asked(terms(MANAGER)), (yes("alex"), said("aromero", Decision.WITHDRAWN)), "1 change_manager"
    ),
    "taken back by somebody else": Case(
        asked(terms(MANAGER)), (yes("alex"), said("billie", Decision.WITHDRAWN)), "approvals"
    ),
    "taken back, and given again": Case(
        asked(terms(MANAGER)), (yes("alex"), said("alex", Decision.WITHDRAWN), yes("alex", 25)), "approvals"
    ),
    "rejected by a freeze approver": Case(
        asked(terms(MANAGER, freeze=True)), (yes("alex"), said("casey", Decision.REJECTED)), "casey rejected"
    ),
    "rejected by nobody who is asked": Case(
        asked(terms(MANAGER)), (yes("alex"), said("casey", Decision.REJECTED)), "approvals"
    ),
    "the rules ask for more since": Case(
        asked(terms(MANAGER, LEADER), question=Question.of(terms(MANAGER))),
        (yes("alex"), yes("eli")),
        "what is asked for has changed",
    ),
    "the rules ask for less since": Case(
        asked(terms(MANAGER), question=Question.of(terms(MANAGER, LEADER))),
        (yes("alex"),),
        "what is asked for has changed",
    ),
    "a freeze began": Case(
        asked(terms(MANAGER, freeze=True), question=Question.of(terms(MANAGER))),
        (yes("alex"), override("casey")),
        "what is asked for has changed",
    ),
    "broken glass": Case(
        asked(terms(MANAGER, refused="a freeze"), change=AGAINST, broken=True), (), "break_glass"
    ),
    "nobody in time": Case(asked(terms(MANAGER)), (), "nobody decided before", 1800),
    "nobody in time, and why": Case(
        asked(terms(change="normal"), change=AGAINST), (), "state is draft", 1800
    ),
    "who is asked besides does not count yet": Case(
        asked(terms(MANAGER)), (yes("dana"),), "1 change_manager"
    ),
    "who is asked besides": Case(asked(terms(MANAGER), rounds=1), (yes("dana", 70),), "approvals", 90),
    "each round has its time": Case(asked(terms(MANAGER), rounds=1), (), "1 change_manager", 1859),
    "the last moment of a round": Case(asked(terms(MANAGER), rounds=1), (), "nobody decided before", 1860),
    "an approval does not live longer for it": Case(
        asked(terms(MANAGER, LEADER), rounds=1), (yes("alex", 5), yes("eli", 1800)), "1 change_manager", 1806
    ),
    "who is asked besides overrides no freeze": Case(
        asked(terms(MANAGER, freeze=True), rounds=1), (yes("alex"), override("dana")), "1 freeze_approver", 90
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_verdict_follows_from_terms_votes_and_facts(case: Case) -> None:
    verdict = check_gate(case.request, case.votes, STAFF, now=at(case.seconds))
    match verdict:
        case Open():
            assert verdict.by == case.verdict
        case Waiting():
            assert case.verdict in verdict.needs
        case Closed():
            assert case.verdict in verdict.detail


def test_what_is_missing_besides_people_leaves_nobody_missing() -> None:
    """So that a worker can tell what passes by itself from what people have to say anew."""
    held_up = check_gate(
        asked(terms(MANAGER, change="normal"), change=AGAINST), [yes("alex")], STAFF, now=at(20)
    )
    assert held_up == Waiting({}, at(1800), ("change: state is draft; it must be scheduled or implement",))


def test_void_says_what_the_rules_are_now() -> None:
    request = asked(terms(MANAGER, LEADER), question=Question.of(terms(MANAGER)))
    verdict = check_gate(request, [], STAFF, now=at(1))
    assert verdict == Closed(ClosedBy.VOID, "what is asked for has changed: the policy for this")


NAMES = sorted([*STAFF.by_id, "aromero", "aromero-adm", "stranger"])
VOTES = st.lists(
    st.builds(
        lambda name, decision, purpose, seconds, auth: Vote(
            name, decision, SHOWN, at(seconds), "why", None, auth, purpose
        ),
        st.sampled_from(NAMES),
        st.sampled_from(list(Decision)),
        st.sampled_from(["approval", "freeze_override"]),
        st.integers(0, 1700),
        st.sampled_from(["os-user", KEY, "change:rt"]),
    ),
    max_size=10,
)
NEEDS = st.lists(
    st.builds(
        Needed, role=st.sampled_from(["change_manager", "major_incident_manager"]), count=st.integers(1, 2)
    ),
    min_size=1,
    max_size=2,
)


@given(votes=VOTES, needs=NEEDS, freeze=st.booleans(), signed=st.booleans(), seconds=st.integers(0, 1799))
def test_an_open_gate_has_another_person_in_every_place(
    votes: list[Vote], needs: list[Needed], freeze: bool, signed: bool, seconds: int
) -> None:
    request = asked(terms(*needs, freeze=freeze, signed=signed))
    verdict = check_gate(request, votes, STAFF, now=at(seconds))
    if not isinstance(verdict, Open):
        return
    given_by: dict[str, set[str]] = {}
    for vote in votes:
        if (
            vote.decision is Decision.APPROVED
            and (vote.auth == KEY or not signed)
            and STAFF.knows(vote.person)
        ):
            given_by.setdefault(STAFF.person(vote.person).id, set()).add(vote.purpose)
    places = sum(need.count for need in needs) + freeze
    assert "launcher" not in verdict.approvers
    assert len(set(verdict.approvers)) >= places
    assert set(verdict.approvers) <= set(given_by)
    for need in needs:
        mine = [
            n for n in verdict.approvers if need.role in STAFF.person(n).roles and "approval" in given_by[n]
        ]
        assert len(mine) >= need.count
    if freeze:
        assert any(
            FREEZE_ROLE in STAFF.person(n).roles and "freeze_override" in given_by[n]
            for n in verdict.approvers
        )


CHANGES: dict[str, Callable[[Request], Request]] = {
    "another digest": lambda r: replace(r, digest="sha256:" + "b" * 64),
    "asked later": lambda r: replace(r, asked_at=at(1790)),
    "one more role": lambda r: replace(r, terms=r.terms.model_copy(update={"approvals": (MANAGER, LEADER)})),
    "a freeze": lambda r: replace(r, terms=r.terms.model_copy(update={"freeze_override": True})),
    "signatures": lambda r: replace(r, terms=r.terms.model_copy(update={"signed": True})),
    "refused": lambda r: replace(r, terms=r.terms.model_copy(update={"refused": "no"})),
    "change": lambda r: replace(r, terms=r.terms.model_copy(update={"change": "normal"})),
    "excluded": lambda r: replace(r, excluded=frozenset(NAMES)),
}


@given(votes=VOTES, seconds=st.integers(0, 1799), change=st.sampled_from(sorted(CHANGES)))
def test_nothing_that_changes_the_question_opens_the_gate(
    votes: list[Vote], seconds: int, change: str
) -> None:
    """Whatever is changed about a question that is open, it is not open any more by the same votes."""
    request = asked(terms(MANAGER))
    earlier = [replace(v, at=min(v.at, at(1700))) for v in votes]
    if isinstance(check_gate(request, earlier, STAFF, now=at(seconds)), Open):
        assert not isinstance(check_gate(CHANGES[change](request), earlier, STAFF, now=at(seconds)), Open)


@given(votes=VOTES, seconds=st.integers(0, 1799))
def test_taking_everything_back_leaves_nothing(votes: list[Vote], seconds: int) -> None:
    gone = [said(name, Decision.WITHDRAWN, 1701) for name in NAMES]
    assert not isinstance(check_gate(asked(terms(MANAGER)), [*votes, *gone], STAFF, now=at(seconds)), Open)


def ask(who: str, request: Request, word: Word, votes: Sequence[Vote] = ()) -> str:
    return check_voter(STAFF.person(who), request, votes, STAFF, word, now=at(20))


@pytest.mark.parametrize(
    ("who", "wanted", "word", "message"),
    [
        ("alex", terms(MANAGER, refused="frozen"), Word(SHOWN), "nobody can allow this: frozen"),
        ("alex", terms(MANAGER, signed=True), Word(SHOWN, "os-user"), "only signed approvals count"),
        ("casey", terms(MANAGER), Word(SHOWN, purpose="freeze_override"), "nothing is frozen"),
        (
            "alex",
            terms(MANAGER, freeze=True),
            Word(SHOWN, purpose="freeze_override"),
            "needs freeze_approver",
        ),
        ("casey", terms(MANAGER, freeze=True), Word(SHOWN), "say so with --freeze-override"),
        ("alex", terms(change="normal"), Word(SHOWN), "waits for its change record"),
        ("launcher", terms(change="normal"), Word(SHOWN), "role that the change record asks for"),
        ("dana", terms(MANAGER), Word(SHOWN), "dana has executive; this gate needs change_manager"),
    ],
)
def test_who_may_not_decide_is_told_why_and_who_may(
    who: str, wanted: Terms, word: Word, message: str
) -> None:
    with pytest.raises(GateError, match=message):
        ask(who, asked(wanted), word)


def test_each_may_decide_in_the_role_that_is_asked() -> None:
    frozen = asked(terms(MANAGER, freeze=True))
    assert ask("alex", frozen, Word(SHOWN)) == "change_manager"
    assert ask("casey", frozen, Word(SHOWN, purpose="freeze_override")) == FREEZE_ROLE
    assert ask("casey", frozen, Word(SHOWN, decision=Decision.REJECTED)) == FREEZE_ROLE
    assert ask("dana", asked(terms(MANAGER), rounds=1), Word(SHOWN)) == "executive"
    assert ask("alex", asked(terms(MANAGER, signed=True)), Word(SHOWN, KEY)) == "change_manager"


def test_who_took_an_approval_back_may_give_it_again_and_who_rejected_may_not() -> None:
    request = asked(terms(MANAGER))
    back = [yes("alex", 5), said("alex", Decision.WITHDRAWN, 6)]
    assert ask("alex", request, Word(SHOWN), back) == "change_manager"
    with pytest.raises(GateError, match="decided here already"):
        ask("alex", request, Word(SHOWN), [said("aromero", Decision.REJECTED, 5)])
    with pytest.raises(GateError, match="decided here already"):
        ask("billie", asked(terms(MANAGER, freeze=True)), Word(SHOWN), [override("billie")])


def test_only_one_s_own_approval_is_taken_back_and_only_once() -> None:
    request, alex = asked(terms(MANAGER)), STAFF.person("alex")
    given_once = [yes("aromero")]
    found = check_withdrawal(alex, request, given_once, STAFF, auth="os-user")
    assert found == given_once[0]
    for votes in ([], [yes("billie")], [*given_once, said("alex", Decision.WITHDRAWN)]):
        with pytest.raises(GateError, match="nothing to take back"):
            check_withdrawal(alex, request, votes, STAFF, auth="os-user")


def test_who_alone_approved_the_change_record_does_not_override_the_freeze_for_it() -> None:
    own, other = yes("billie", auth="change:rt"), yes("alex", auth="change:rt")

    def verdict(by: str, *votes: Vote) -> object:
        request = asked(terms(change="normal", freeze=True), change=replace(FINE, votes=votes))
        return check_gate(request, [override(by, 1)], STAFF, now=at(20))

    alone = verdict("billie", own)
    assert isinstance(alone, Waiting)
    assert alone.missing == {FREEZE_ROLE: 1}
    request = asked(terms(change="normal", freeze=True), change=replace(FINE, votes=(own,)))
    with pytest.raises(GateError, match="another freeze approver must"):
        ask("billie", request, Word(SHOWN, purpose="freeze_override"))
    assert isinstance(verdict("billie", own, other), Open)
    assert isinstance(verdict("casey", own), Open)
