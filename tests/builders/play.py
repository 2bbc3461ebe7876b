"""Play schedules of the simulator from a shell: `python tests/builders/play.py SEED` tells one of them whole,
`python tests/builders/play.py FIRST COUNT` plays many and tells those that went wrong."""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from builders.seams import seams
from builders.simulation import Simulation


def main() -> int:
    first, count = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    begun, faults, wrong, played = time.process_time(), Counter[str](), 0, 0
    with seams():
        for seed in range(first, first + count):
            simulation = Simulation(seed)
            played += 1
            flaws = simulation.play()
            faults += simulation.faults
            if flaws or count == 1:
                sys.stdout.write("\n".join([simulation.told(), *flaws, ""]))
            wrong += bool(flaws)
            if wrong >= 3:
                break
    took = time.process_time() - begun
    pace = f"{took:.1f} s of processor time, {played / took:.0f} a second"
    sys.stdout.write(f"{played} schedules in {pace}; {wrong} wrong\n")
    sys.stdout.write(", ".join(f"{name}: {times}" for name, times in faults.most_common()) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
