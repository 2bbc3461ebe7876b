"""How fast a log in PostgreSQL takes entries, by threads and by processes, and what a step costs there.

    python bench/postgres_log.py [--seconds 3]

The server is on this machine, with fsync on. Each append is one entry with a small projection, durable when it
returns. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

from log_append import ACTOR, Count, append_for, outcome, show
from step_cost import measure

from mimrun.lab import folder
from mimrun.lab.postgres import PostgresPair
from mimrun.lab.postgres_server import Instance
from mimrun.log.blob_key import BlobKeyPlace
from mimrun.log.postgres.database import Database
from mimrun.log.postgres.store import PostgresStore, create_log
from mimrun.log.proof.verify import verify
from mimrun.settings import Settings

STEPS = 200
BLOB_KEY = BlobKeyPlace(Path("nowhere"), "env:BENCH_BLOB_KEY")
os.environ.setdefault("BENCH_BLOB_KEY", "5e" * 32)


def address(server: Instance, schema: str) -> tuple[str, str]:
    """Give the address of a log on the server, and the reference of its password."""
    url = f"postgresql://{server.user}@{server.host}:{server.port}/postgres?schema={schema}"
    return url, f"file:{server.password_file}"


def by_threads(database: Database, threads: int, seconds: float) -> list[float]:
    create_log(database, BLOB_KEY, "bench", ACTOR)
    times: list[float] = []
    with PostgresStore(database, BLOB_KEY, projectors=[Count()]) as store:
        store.append([outcome("warm")])
        workers = [
            threading.Thread(target=lambda n=n: times.extend(append_for(store, f"run-{n}", seconds)))
            for n in range(threads)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    return times


def by_processes(place: tuple[str, str], processes: int, seconds: float, threads: int = 1) -> list[float]:
    database = Database.of(*place)
    create_log(database, BLOB_KEY, "bench", ACTOR)
    argv = [sys.executable, __file__, "--child", *place, "--seconds", str(seconds), "--threads", str(threads)]
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
    with PostgresStore(database, BLOB_KEY, projectors=[Count()]) as store:
        report = verify(store)
        assert report.ok, report
        assert report.size == len(times) + processes + 1
    return times


def child(place: tuple[str, str], run: str, seconds: float, threads: int) -> None:
    with PostgresStore(Database.of(*place), BLOB_KEY, projectors=[Count()]) as store:
        store.append([outcome(run)])
        print("ready", flush=True)
        sys.stdin.readline()
        times: list[float] = []
        workers = [
            threading.Thread(target=lambda n=n: times.extend(append_for(store, f"{run}-{n}", seconds)))
            for n in range(threads)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    print("\n".join(map(str, times)))


def steps(place: tuple[str, str]) -> None:
    home = folder.make()
    try:
        settings = replace(Settings(home=home / "home"), store=place[0], store_password=place[1])
        begun = time.perf_counter()
        ms, whole = measure(settings, STEPS)
        print(
            f"{STEPS} steps that do nothing: p50 {ms[len(ms) // 2]:.2f} ms, p95 {ms[int(len(ms) * 0.95)]:.2f} ms,"
            f" whole run {whole:.2f} s, with its making {time.perf_counter() - begun:.2f} s"
        )
    finally:
        shutil.rmtree(home)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--threads", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--run", default="", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child((given.child[0], given.child[1]), given.run, given.seconds, given.threads)
        return
    with folder.temporary() as place, PostgresPair(Path(place) / "pg", net="127.0.78") as pair:
        server = pair.primary
        pair.standby.control("pg-stop")
        server.sql("alter system set fsync = on")
        server.sql("select pg_reload_conf()")
        for count in (1, 8, 64):
            database = Database.of(*address(server, f"threads_{count}"))
            show(f"{count} threads", by_threads(database, count, given.seconds), given.seconds)
        for count, threads in ((1, 1), (8, 1), (8, 4), (8, 8)):
            times = by_processes(
                address(server, f"processes_{count}_{threads}"), count, given.seconds, threads
            )
            show(f"{count} processes x {threads}", times, given.seconds)
        steps(address(server, "steps"))


if __name__ == "__main__":
    main()
