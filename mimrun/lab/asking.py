"""Asking a part of the lab over HTTP: one question, one answer, no waiting longer than said."""

from __future__ import annotations

import http.client
import json
from typing import Any, Final

from mimrun.errors import LabError
from mimrun.secret import Secret

PATIENCE: Final = 2.0
"""Seconds that an answer may take."""


def ask(host: str, port: int, path: str, *, body: object = None, token: Secret | None = None) -> Any:
    """Ask for a path, and give what is answered.

    Arguments:
        host: the part's address.
        port: its port.
        path: what to ask for, with the query.
        body: what to post, as JSON; None only asks.
        token: what to show, as a bearer token.

    Returns:
        The answer, read as JSON where it is, else as text.

    Raises:
        LabError: no answer comes, or one that says no.
    """
    connection = http.client.HTTPConnection(host, port, timeout=PATIENCE)
    try:
        sent = None if body is None else json.dumps(body)
        headers = {} if sent is None else {"Content-Type": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token.reveal()}"
        connection.request("GET" if sent is None else "POST", path, sent, headers)
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        raise LabError(f"http://{host}:{port}{path} does not answer: {error}") from error
    finally:
        connection.close()
    if not 200 <= answer.status < 300:
        raise LabError(f"http://{host}:{port}{path} answers {answer.status}: {text.strip()[:300]}")
    is_json = (answer.getheader("Content-Type") or "").startswith("application/json")
    return json.loads(text) if is_json else text
