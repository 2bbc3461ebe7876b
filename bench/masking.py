"""Masking captured output: how much slower a talkative target gets when the run has secrets.

    python bench/masking.py [MEBIBYTES]

Output goes through `Stream` in pieces of 32 KiB, as connectors feed it. Nothing is asserted.
"""

from __future__ import annotations

import base64
import random
import resource
import sys
import time

from mimrun.output import Stream
from mimrun.secret import Masker, Secret

MEBIBYTES = 64
PIECE = 32 * 1024
CHANCE = random.Random(1)


def tokens(count: int) -> list[str]:
    """Give values such as services hand out."""
    return [base64.b64encode(CHANCE.randbytes(30)).decode() for _ in range(count)]


def keys(count: int) -> list[str]:
    """Give values of 50 lines, as long as an RSA key of 4096 bits."""
    return ["\n".join(tokens(50)) for _ in range(count)]


SECRETS = {
    "no secret": [],
    "1 token": tokens(1),
    "20 tokens": tokens(20),
    "20 tokens, 20 keys": tokens(20) + keys(20),
}


def texts(size: int, secret: str) -> dict[str, bytes]:
    """Give kinds of output: a log, random base64, and a log with a secret in each tenth line."""
    line = "2026-01-01T00:00:00Z web1 app[%d]: GET /index.html 200 %d ms\n"
    log = "".join(line % (n, n % 97) for n in range(20_000)).encode()
    said = "".join(line % (n, n % 97) + (f"token={secret}\n" if n % 10 == 0 else "") for n in range(20_000))
    packed = base64.encodebytes(CHANCE.randbytes(1 << 20))
    every = {"log": log, "base64": packed, "secret in each tenth line": said.encode()}
    return {name: (data * (size // len(data) + 1))[:size] for name, data in every.items()}


def seconds(values: list[str], data: bytes) -> float:
    """Give the time that the whole of it takes."""
    masker = Masker(map(Secret, values))
    stream, begun = Stream(masker), time.perf_counter()
    for at in range(0, len(data), PIECE):
        stream.feed(data[at : at + PIECE])
    stream.finish()
    return time.perf_counter() - begun


def main() -> None:
    size = (int(sys.argv[1]) if len(sys.argv) > 1 else MEBIBYTES) << 20
    print(f"{size >> 20} MiB of output; seconds\n")
    kinds = texts(size, SECRETS["20 tokens"][0])
    print(f"{'':<22}" + "".join(f"{kind:>28}" for kind in kinds) + f"{'making it':>14}")
    for name, values in SECRETS.items():
        begun = time.perf_counter()
        Masker(map(Secret, values)).mask(b"once")
        made = time.perf_counter() - begun
        print(
            f"{name:<22}" + "".join(f"{seconds(values, d):>28.2f}" for d in kinds.values()) + f"{made:>14.3f}"
        )
    print(f"\nmost memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB")


if __name__ == "__main__":
    main()
