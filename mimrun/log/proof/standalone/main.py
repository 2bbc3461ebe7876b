"""What a person or a program is told about a bundle."""

from __future__ import annotations

import argparse
import json
import mmap
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mimrun.log.proof.standalone.approvals import Decision, check_decisions
from mimrun.log.proof.standalone.bundle import Examination, Given, split_notes
from mimrun.log.proof.standalone.entries import Flaw
from mimrun.log.proof.standalone.form import Bundle, Damaged
from mimrun.log.proof.standalone.signature import read_vkey


def examine_file(path: str, given: Given, signers: str | None = None) -> dict[str, Any]:
    """Check a bundle and give the report. Raises OSError where a file cannot be read."""
    with Path(path).open("rb") as file:
        empty = not file.read(1)
        data: Any = b"" if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        try:
            return report_on(Bundle(data), given, signers)
        except Damaged as exc:
            return {
                "ok": False,
                "flaws": [Flaw(0, "file", str(exc))._asdict()],
                "proven": [],
                "not_proven": [],
            }
        finally:
            if not empty:
                data.close()


def report_on(bundle: Bundle, given: Given, signers: str | None = None) -> dict[str, Any]:
    """Check a bundle that was opened."""
    examination = Examination(bundle, given)
    flaws: list[Flaw] = examination.run()
    decisions: list[Decision] = [] if flaws else check_decisions(bundle, signers)
    manifest = examination.manifest
    return {
        "ok": not flaws and not any(one.state in ("wrong", "foreign") for one in decisions),
        "log": manifest["log"],
        "scope": f"incident {manifest['inc']}" if manifest["inc"] else "the whole log",
        "size": manifest["size"],
        "root": manifest["root"],
        "made_at": manifest["made_at"],
        "entries": len(examination.entries.leaves),
        "blobs": examination.contents.blobs,
        "redacted": examination.contents.erased,
        "flaws": [flaw._asdict() for flaw in flaws],
        "vouched": bool(given.root or given.keys or given.witnesses),
        "proven": [] if flaws else examination.proven,
        "not_proven": examination.open,
        "decisions": [one._asdict() for one in decisions],
    }


def print_report(report: dict[str, Any]) -> None:
    """Say what was found, for a person. What is printed may come from a forger: control characters are not shown."""

    def say(text: str) -> None:
        shown = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
        encoding = sys.stdout.encoding or "ascii"
        sys.stdout.write(shown.encode(encoding, "backslashreplace").decode(encoding) + "\n")

    if "log" in report:
        entries, blobs = report["entries"], report["blobs"]
        counts = f"{entries} entr{'y' if entries == 1 else 'ies'}, {blobs} blob{'' if blobs == 1 else 's'}"
        say(f"{report['scope']} of {report['log']}: {counts}")
    flaws = report["flaws"]
    if flaws:
        say(f"NOT what was recorded: {len(flaws)} flaw{'s' if len(flaws) > 1 else ''}")
    elif report["vouched"]:
        say("everything is as it was recorded")
    else:
        say("everything fits together; whose key signed it, only --key or --root can tell")
    for flaw in flaws[:50]:
        say(f"  entry {flaw['seq']}: {flaw['detail']}" if flaw["seq"] else f"  {flaw['detail']}")
    if len(flaws) > 50:
        say(f"  and {len(flaws) - 50} more")
    for title, lines in (
        ("proven:", report["proven"]),
        ("not proven:", [] if flaws else report["not_proven"]),
        (
            "signed:",
            [f"entry {one['seq']}: {one['state']}: {one['said']}" for one in report.get("decisions", [])],
        ),
    ):
        for number, line in enumerate(lines):
            say(f"{title if number == 0 else '':<11} {line}")


def command_line() -> argparse.ArgumentParser:
    """What can be said on the command line."""
    parser = argparse.ArgumentParser(description="Check an evidence bundle of an incident log.")
    parser.add_argument("file", help="the bundle: INC-....mimlog")
    parser.add_argument(
        "--root", metavar="VKEY", help="the offline root key that must have certified the log's keys"
    )
    parser.add_argument(
        "--key", metavar="VKEY", action="append", default=[], help="a key of the log that you trust"
    )
    parser.add_argument(
        "--witness", metavar="VKEY", action="append", default=[], help="a witness that must have signed"
    )
    parser.add_argument(
        "--checkpoint",
        metavar="FILE",
        action="append",
        default=[],
        help="signed checkpoints that were kept elsewhere",
    )
    parser.add_argument(
        "--allowed-signers", metavar="FILE", help="whose SSH keys sign decisions, as ssh-keygen(1) has it"
    )
    parser.add_argument("--unsigned", action="store_true", help="a bundle without a checkpoint will do")
    parser.add_argument("--json", action="store_true", help="the report as JSON")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Check the file that the command line names."""
    asked = command_line().parse_args(argv)
    try:
        given = Given(
            read_vkey(asked.root) if asked.root else None,
            [read_vkey(text) for text in asked.key],
            [read_vkey(text) for text in asked.witness],
            [note for path in asked.checkpoint for note in split_notes(Path(path).read_text("utf-8"))],
            asked.unsigned,
        )
        if asked.allowed_signers:
            Path(asked.allowed_signers).read_bytes()
        report = examine_file(asked.file, given, asked.allowed_signers)
    except (OSError, ValueError) as exc:
        sys.stderr.write(f"cannot check: {exc}\n")
        return 2
    if asked.json:
        sys.stdout.write(json.dumps(report, indent=2) + "\n")
    else:
        print_report(report)
    return 0 if report["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
