"""A process that appends until it is killed, telling of each append once it was acknowledged.

Usage: appender.py PLACE RUN COUNT. COUNT 0 is for ever. Each line of its output is the `seq` of an append
that had returned before the line was written.
"""

from __future__ import annotations

import sys

from builders.log_places import open_place

from tests.store.conftest import Counter, note, started


def main(place: str, run: str, count: str) -> None:
    with open_place(place, projectors=[Counter()]) as store:
        number = 0
        while count == "0" or number < int(count):
            number += 1
            entries = store.append([started(run), note(f"{number}", run=run)])
            print(entries[-1].seq, flush=True)  # noqa: T201 - its parent reads this


main(*sys.argv[1:])
