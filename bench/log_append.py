"""How fast the log takes entries, by threads in one process and by processes, and how fast it verifies.

    python bench/log_append.py [--seconds 2] [--folder .] [--blob 2048]

Each append is one entry with a small projection, durable when it returns (WAL, synchronous=FULL); with --blob
it has an output of so many bytes. Beside it, for what the disk can do: a bare 1 KiB append with fdatasync.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from mimrun.log.entry import Actor, Blob, Draft, LogEntry
from mimrun.log.kinds import StepOutcome
from mimrun.log.proof.signer import FileSigner, begin_key
from mimrun.log.proof.verify import verify
from mimrun.log.sqlite.store import SqliteStore, create_log

ACTOR = Actor("worker", "w:7f3a", "engine", "lease")
BLOB = "BENCH_BLOB"
"""The variable by which the processes of this script know how long an output is."""


class Count:
    """One small state a run, as a run's projection has."""

    name = "count/1"

    def empty(self) -> bytes:
        return b"0"

    def key(self, entry: LogEntry) -> str | None:
        return entry.run or None

    def apply(self, state: bytes, entry: LogEntry, blobs: Mapping[str, bytes]) -> bytes:
        return b"%d" % (int(state) + 1)


def outcome(run: str) -> Draft:
    body = StepOutcome(
        status="ok", changed=True, clean=False, unreachable=False, reason="", dur_ms=1834, intent=1233
    )
    size = int(os.environ.get(BLOB, "0"))
    blobs = (Blob("stdout", os.urandom(size), "output"),) if size else ()
    return Draft(
        ACTOR, body, inc="INC-1", run=run, step="3.block.1", target="db1", attempt=1, epoch=17, blobs=blobs
    )


def append_for(store: SqliteStore, run: str, seconds: float) -> list[float]:
    """Append one by one; give the seconds that each took."""
    times, end = [], time.perf_counter() + seconds
    while (begun := time.perf_counter()) < end:
        store.append([outcome(run)])
        times.append(time.perf_counter() - begun)
    return times


def by_threads(folder: Path, threads: int, seconds: float, *, signed: bool = False) -> list[float]:
    path = folder / f"threads-{threads}{'-signed' * signed}.db"
    create_log(path, "bench", ACTOR)
    times: list[float] = []
    with SqliteStore(path, projectors=[Count()]) as store:
        if signed:
            signer = FileSigner(folder / f"signer-{threads}", "bench")
            store.append([Draft(ACTOR, begin_key(signer, size=1))])
            store.sign_with(signer)
        store.append([outcome("warm")])

        def work(number: int) -> None:
            mine = append_for(store, f"run-{number}", seconds)
            times.extend(mine)

        workers = [threading.Thread(target=work, args=(n,)) for n in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    return times


def by_processes(folder: Path, processes: int, seconds: float) -> list[float]:
    path = folder / f"processes-{processes}.db"
    create_log(path, "bench", ACTOR)
    argv = [sys.executable, __file__, "--child", str(path), "--seconds", str(seconds)]
    children = [
        subprocess.Popen(
            [*argv, "--run", f"run-{n}"], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
        )
        for n in range(processes)
    ]
    for child in children:
        assert child.stdout is not None
        child.stdout.readline()  # it is ready
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    times = [float(line) for child in children for line in child.communicate()[0].split()]
    with SqliteStore(path, projectors=[Count()]) as store:
        report = verify(store)
        assert report.ok, report
        assert report.size == len(times) + processes + 1
    return times


def child(path: Path, run: str, seconds: float) -> None:
    with SqliteStore(path, projectors=[Count()]) as store:
        store.append([outcome(run)])
        print("ready", flush=True)
        sys.stdin.readline()
        times = append_for(store, run, seconds)
    print("\n".join(map(str, times)))


def bare_disk(folder: Path, seconds: float) -> list[float]:
    times, end = [], time.perf_counter() + seconds
    with (folder / "bare").open("wb", buffering=0) as file:
        while (begun := time.perf_counter()) < end:
            file.write(bytes(1024))
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - begun)
    return times


def show(what: str, times: list[float], seconds: float) -> None:
    cuts = statistics.quantiles(times, n=100)
    print(
        f"{what:26s} {len(times) / seconds:8.0f}/s   p50 {cuts[49] * 1e3:7.2f} ms   "
        f"p99 {cuts[98] * 1e3:7.2f} ms   max {max(times) * 1e3:8.1f} ms",
        flush=True,
    )


def verifying(folder: Path, count: int) -> None:
    path = folder / "verify.db"
    create_log(path, "bench", ACTOR)
    with SqliteStore(path, projectors=[Count()]) as store:
        begun = time.perf_counter()
        for _ in range(count // 500):
            store.append([outcome("run-1")] * 500)
        print(f"{'500 drafts an append':26s} {count / (time.perf_counter() - begun):8.0f} entries/s")
        begun, used = time.perf_counter(), time.process_time()
        report = verify(store)
        wall, used = time.perf_counter() - begun, time.process_time() - used
        assert report.ok, report
        begun = time.perf_counter()
        assert store.rebuild()
        rebuilt = time.perf_counter() - begun
    print(f"{'verify':26s} {count / wall:8.0f} entries/s by the clock, {count / used:.0f} by processor time")
    print(f"{'rebuild':26s} {count / rebuilt:8.0f} entries/s")
    print(f"{'file':26s} {path.stat().st_size / count:8.0f} bytes an entry, with its blob if it has one")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--folder", type=Path, default=None, help="where to write; a disk, not a tmpfs")
    parser.add_argument("--blob", type=int, default=0, help="bytes of output that each entry has")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--run", default="", help=argparse.SUPPRESS)
    given = parser.parse_args()
    os.environ.setdefault(BLOB, str(given.blob))
    if given.child:
        child(given.child, given.run, given.seconds)
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        place = Path(folder)
        show("bare 1 KiB + fdatasync", bare_disk(place, given.seconds), given.seconds)
        for threads in (1, 4, 16, 64):
            show(f"{threads} threads", by_threads(place, threads, given.seconds), given.seconds)
            times = by_threads(place, threads, given.seconds, signed=True)
            show(f"{threads} threads, signed", times, given.seconds)
        for processes in (1, 2, 4, 8):
            show(f"{processes} processes", by_processes(place, processes, given.seconds), given.seconds)
        verifying(place, 30_000)


if __name__ == "__main__":
    main()
