"""What a bundle says to whoever opens it."""

from __future__ import annotations

from typing import Final

_README: Final = """\
Evidence: {scope} of the incident log {log}
===========================================

This file, {name}, is a zip. What is in it:

  entries.jsonl      what happened: one entry a line, each linked to the one before it
  log.jsonl          entries about the log itself: its keys, and where all incidents ended
  proofs.jsonl       for each of these lines, the proof that it is in the log at that place
  checkpoint         the log as it was then, signed by the log's key
  checkpoints.jsonl  of a whole log: every checkpoint before that one
  heads.json         the proof that nothing was cut from the incident's end
  consistency.jsonl  proofs that this log goes on from earlier checkpoints
  keys.json          the log's keys, and which of them may sign what
  blobs/             output, plans, data and texts that entries commit to; some may have been left out
  runbooks/          the runbooks that were run, by the digest of their content
  manifest.json      what belongs to this bundle, each with its digest

How to check it
---------------

With mimrun, on any machine:           mimrun log verify {name}
Without mimrun, with Python 3.9:       python3 verify.py {name}

`mimrun log verifier > verify.py` writes that program. Take it from somebody whom you trust, not from
whoever gave you this bundle; likewise the key (`mimrun key show`), and a checkpoint that was kept elsewhere:

    python3 verify.py {name} --root VKEY --checkpoint anchor.txt

By hand: SHA-256 over a zero byte and a line of entries.jsonl (without its line end) is that entry's leaf
hash; the next entry of the incident holds it as "iprev". The whole procedure is described under "Bundles" and
"To verify" on the page log-format.md of mimrun's documentation.

What it shows, if it verifies
-----------------------------

These entries were in the log when the checkpoint was signed; none was changed, left out, put in or cut off.
It does not show that what they say is true, and whoever holds the log's key could have written another log:
against that stands a checkpoint that was kept elsewhere at the time.
"""


def readme(name: str, log: str, inc: str) -> bytes:
    """Give the text for a bundle.

    Arguments:
        name: of the file.
        log: the origin.
        inc: the incident, or "".
    """
    return _README.format(name=name, log=log, scope=f"incident {inc}" if inc else "the whole").encode()
