"""Scopes: what a token may be used for, and which scope each verb needs. One table, and nothing outside of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from mimrun.errors import InputError
from mimrun.runbook.suggestion import suggest

SCOPES: Final[Mapping[str, str]] = {
    "read": "look at runs, plans, people and the log",
    "launch": "launch runs, go on with them, take them back",
    "approve": "decide at gates and about changes",
    "attest": "do manual steps, and settle what is in doubt",
    "stop": "pause, cancel, abort, pull the kill switch",
    "record": "write down what was seen and done",
    "change": "make and link change records",
    "token": "make and revoke tokens, with no more than its own scopes",
    "admin": "keep mimrun itself: keys, anchors, stores, engine, erasure",
}
"""Every scope, and what it is for."""

_VERBS: Final[Mapping[str, str]] = {
    "read": """change list | change show | change conflicts | plan | runs | status | replay | locks | doctor | schema | inventory hosts | inventory show | runbook list
        | runbook show | runbook lint | reverts list | kill-switch show | breaker list | log show | log verify | log export
        | log anchors | log attachment | log cast | log verifier | key show | people list | people show | people lint
        | policy show | policy diff | policy explain | policy history | policy lint | calendar list | calendar show
        | calendar check | calendar next | incident list | incident show | incident timeline | incident table | approval request | approval export | oncall show | token list | token scopes | session list | password list | login | logout | whoami | notice list | notice lint | alert list | alert show | alert lint | review show | review item list | proposal list | proposal show | rule list | rule show | rule lint | rule test | breakglass list
        | breakglass show | breakglass packs | breakglass log | card""",
    "launch": "run | resume | retry | undo | demo | proposal take | proposal dismiss",
    "approve": """approve | reject | withdraw | approval sign | approval import | reverts cancel
        | change approve | change reject | change review | change standard | change withdraw | breakglass agree | incident priority""",
    "attest": "attest | claim | release | hand-over | check | confirm | dispute | resolve | unlock | breaker close | rule resume | kill-switch lift",
    "stop": "pause | cancel | abort | kill-switch pull",
    "record": """note | did | attach | shell | alert send | review publish | review item add | review item done | review item drop | incident declare | incident assess | incident note | incident assign
        | incident stage | incident resolve | incident close | incident reopen | incident time | incident link""",
    "change": """change open | change edit | change submit | change link | change schedule | change start | change close
        | change cancel | change sync""",
    "token": "token create | token revoke | session revoke | password set | password remove",
    "admin": """init | serve | up | down | worker | watch | signer | store migrate | store copy | key root | key request | key certify
        | key install | key rotate | key retire | key trust | log anchor | log redact | log rebuild | log accept
        | oncall import | policy init | calendar import | notice test | notice now | breakglass pack | breakglass open | breakglass merge""",
}

VERBS: Final[Mapping[str, str]] = {
    " ".join(verb.split()): scope for scope, verbs in _VERBS.items() for verb in verbs.split("|")
}
"""Every verb, as a person types it, and the scope that a token needs for it."""


AUDITED: Final = frozenset(
    {verb for verb, scope in VERBS.items() if scope in ("read", "token")} | {"kill-switch pull"}
)
"""What an auditor may do: look, have a token to look with, and, as everybody, stop what goes wrong."""


FOR_OTHERS: Final = frozenset({"read", "launch", "stop", "record"})
"""What a token may be for that somebody makes for another person: whoever makes it could act as them, and where two
people are needed, be both."""


def read_scopes(words: Iterable[str]) -> frozenset[str]:
    """Give the scopes that somebody named.

    Raises:
        InputError: one is none, or there is none at all.
    """
    scopes = frozenset(word.strip() for part in words for word in part.split(",") if word.strip())
    for unknown in sorted(scopes - SCOPES.keys()):
        raise InputError(f"no scope {unknown!r}; {suggest(unknown, SCOPES)}")
    if not scopes:
        raise InputError(f"a token needs a scope: {', '.join(SCOPES)}")
    return scopes
