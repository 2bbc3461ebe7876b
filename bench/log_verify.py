"""How fast a large log is verified, shown and handed out, and how large it is.

    python bench/log_verify.py [--entries 1000000] [--folder .]

The log is made with entries as runs write them: intents and outcomes of many runs in many incidents, one
in ten with a blob. Nothing is asserted. The figures that were set: 1,000,000 entries verified within 15 s and
500 MB on two cores, the timeline of one incident in it within 50 ms, near 1 KB an entry.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from mimrun.log.entry import Actor, Blob, Draft
from mimrun.log.kinds import StepIntent, StepOutcome
from mimrun.log.merkle import Tree, included
from mimrun.log.proof.bundle import export
from mimrun.log.proof.opened import verify_bundle
from mimrun.log.proof.signer import FileSigner, begin_key
from mimrun.log.proof.verify import verify
from mimrun.log.sqlite.reader import LogReader
from mimrun.log.sqlite.store import SqliteStore, create_log

ACTOR = Actor("worker", "w:7f3a", "engine", "lease")
BATCH = 1000
LARGE = 10_000
"""Entries of the one large incident."""
USUAL = 100
"""Entries of each other incident."""
OUTPUT = b"the service was restarted and answers again\n" * 20


def drafts(count: int) -> Iterator[Draft]:
    """What runs record: an intent and an outcome for each attempt, the large incident among the others."""
    for number in range(count):
        large = number % 2 == 0 and number < 2 * LARGE
        inc = "INC-20261122-LARGE" if large else f"INC-2026-{number // USUAL:06d}"
        run = f"run_{inc[4:]}"
        where = {"step": f"3.block.{number % 7}", "target": f"db{number % 50}.example.org"}
        blobs = (Blob("stdout", OUTPUT, "output"),) if number % 10 == 1 else ()
        if number % 4 < 2:
            outcome = StepOutcome(
                status="ok", changed=True, clean=False, unreachable=False, reason="", dur_ms=1834, intent=1233
            )
            yield Draft(ACTOR, outcome, inc, run, **where, attempt=1, epoch=17, blobs=blobs)
        else:
            digest = "sha256:" + "5e" * 32
            intent = StepIntent(
                action="ssh.command",
                effect="once",
                key=f"{run}/3.block/{number}",
                args_digest=digest,
                deadline_ms=number,
                check_mode=False,
            )
            yield Draft(ACTOR, intent, inc, run, **where, attempt=1, epoch=17)


def fill(path: Path, count: int) -> None:
    """Make the log, a thousand entries in each transaction."""
    create_log(path, "bench.example.org/log", ACTOR)
    todo = drafts(count - 1)
    begun = time.perf_counter()
    with SqliteStore(path) as store:
        signer = FileSigner(path.parent / "signer", store.log)
        store.append([Draft(ACTOR, begin_key(signer, size=store.head().size))])
        store.sign_with(signer)
        while batch := [draft for draft, _ in zip(todo, range(BATCH), strict=False)]:
            store.append(batch)
    seconds = time.perf_counter() - begun
    print(f"made in {seconds:.0f} s: {count / seconds:,.0f} entries/s")
    size = sum(file.stat().st_size for file in path.parent.glob(path.name + "*"))
    print(f"on disk: {size / 1e6:,.0f} MB, {size / count:,.0f} bytes an entry")


def verify_alone(path: Path) -> None:
    """Verify in a process of its own, whose memory is then known."""
    begun = time.perf_counter()
    answer = subprocess.run([sys.executable, __file__, "--verify", str(path)], check=False)
    if answer.returncode:
        sys.exit("the log does not verify")
    print(f"  with the start of Python: {time.perf_counter() - begun:.1f} s")


def verify_here(path: Path) -> None:
    """Verify a log and say how long it took and how much memory."""
    reader = LogReader(path)
    begun, used = time.perf_counter(), time.process_time()
    report = verify(reader)
    seconds, used = time.perf_counter() - begun, time.process_time() - used
    reader.close()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"  {report.findings.checkpoints} checkpoints, {used:.1f} s of work here and {children.ru_utime:.1f} s beside,"
    )
    mine = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    theirs = children.ru_maxrss / 1024
    print(f"verified in {seconds:.1f} s ({report.size / seconds:,.0f} entries/s),")
    print(f"  {mine:.0f} MB here, {theirs:.0f} MB in a process beside it (goal for a million: 15 s, 500 MB)")
    if not report.ok:
        sys.exit(str(report))


def look_up(path: Path, folder: Path) -> None:
    """Time the timeline of an incident, a proof, and a bundle."""
    with SqliteStore(path) as store:
        size = store.head().size
        for name, inc in (("usual", f"INC-2026-{size // USUAL // 2:06d}"), ("large", "INC-20261122-LARGE")):
            times = []
            for _ in range(5):
                begun = time.perf_counter()
                count = len(list(store.entries(inc=inc)))
                times.append(time.perf_counter() - begun)
            print(
                f"timeline of the {name} incident, {count} entries: {min(times) * 1000:.1f} ms (goal: 50 ms)"
            )
        begun = time.perf_counter()
        tree = Tree(store.leaves(size))
        print(f"tree over {size:,} leaves: {time.perf_counter() - begun:.2f} s")
        begun, root = time.perf_counter(), tree.root()
        proofs = [(n, tree.inclusion(n)) for n in range(0, size, max(size // 1000, 1))]
        each = (time.perf_counter() - begun) / len(proofs)
        begun, some = time.perf_counter(), [list(store.leaves(size))[n] for n, _ in proofs[:1]]
        assert included(some[0], proofs[0][0], size, proofs[0][1], root)
        print(f"inclusion proof: {each * 1e6:.0f} us, {len(proofs[0][1])} hashes")
        begun = time.perf_counter()
        bundle = folder / "large.mimlog"
        manifest = export(store, bundle, inc="INC-20261122-LARGE")
        print(f"export of {manifest.entries} entries: {time.perf_counter() - begun:.1f} s, ", end="")
        print(f"{bundle.stat().st_size / 1e6:.1f} MB")
        begun = time.perf_counter()
        assert verify_bundle(bundle).ok
        print(f"verified in {time.perf_counter() - begun:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--verify", type=Path, default=None, help="only verify this log")
    given = parser.parse_args()
    if given.verify is not None:
        verify_here(given.verify)
        return
    with tempfile.TemporaryDirectory(prefix="mimrun-bench-", dir=given.folder) as folder:
        path = Path(folder) / "log.db"
        fill(path, given.entries)
        verify_alone(path)
        look_up(path, Path(folder))


if __name__ == "__main__":
    main()
