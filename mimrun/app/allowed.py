"""What somebody may do at all, said before they try: their token has the scope for it, and they do not only look.

It allows nothing by itself: whatever is done asks again. What a certain run, gate or step asks for besides is said there.
"""

from __future__ import annotations

from mimrun.app.home import Home
from mimrun.app.identity import Identity
from mimrun.app.sign_in import require_scope
from mimrun.errors import SignInError
from mimrun.gate.role import AUDITOR
from mimrun.gate.scope import AUDITED, VERBS


def why_not_verb(home: Home, identity: Identity, verb: str) -> str:
    """Say why somebody may not do something, whatever it is about; "" where they may.

    Arguments:
        verb: as the command line has it: `approve`, `manual attest`.
    """
    person = identity.person
    if AUDITOR in person.roles and verb not in AUDITED:
        return f"{person.id} is an auditor, who looks at everything and does nothing else"
    try:
        require_scope(home.signed_in, VERBS[verb], f"{verb}")
    except SignInError as exc:
        return str(exc)
    return ""
