"""`mimrun log`: what happened, and the proof that this is all of it."""

from __future__ import annotations

import typer

from mimrun.app.records import rebuild_log
from mimrun.cli.anchor import anchor, anchors
from mimrun.cli.counting import Counting
from mimrun.cli.log_accept import accept
from mimrun.cli.log_export import export
from mimrun.cli.log_files import attachment, cast
from mimrun.cli.log_show import show
from mimrun.cli.log_verify import verifier, verify
from mimrun.cli.options import HomeOption, group, settings_of
from mimrun.cli.redact import redact


def rebuild(home: HomeOption = None) -> None:
    """Fold the whole log anew, and say whether the states that were kept are the same. Ends with 6 if not.

    Lists, locks and breakers are read from these states. Whoever can write to the database can change them alone, and
    this mends it; `mimrun log verify --states` names what differs, and changes nothing.
    """
    with Counting() as counting:
        same = rebuild_log(settings_of(home), counting.folded)
    typer.echo("every state is the same, byte for byte" if same else "states differed and were replaced")
    if not same:
        raise typer.Exit(6)


COMMANDS = {
    "log": group(
        "log",
        "Show, verify, export, anchor, redact or rebuild the incident log.",
        {
            "show": (show, "mimrun log show latest --blobs"),
            "verify": (verify, "mimrun log verify INC-20261122-7K2Q.mimlog"),
            "verifier": (verifier, "mimrun log verifier > verify.py"),
            "export": (export, "mimrun log export INC-20261122-7K2Q -o evidence.mimlog"),
            "attachment": (attachment, "mimrun log attachment 42 -o screenshot.png"),
            "accept": (
                accept,
                'mimrun log accept --reason "restored the backup of 02:00 after the disk failed"',
            ),
            "anchor": (anchor, "mimrun log anchor vault-host"),
            "anchors": (anchors, "mimrun log anchors"),
            "redact": (redact, 'mimrun log redact 42 --blob stdout --reason "has a customer\'s address"'),
            "cast": (cast, "mimrun log cast 42 -o db1.cast"),
            "rebuild": (rebuild, "mimrun log rebuild"),
        },
    )
}
