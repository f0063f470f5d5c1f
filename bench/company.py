"""Requests that share runs of a network, beside requests that do not: ``python -m bench company``.

Eight callers bring tiles of 256 px one after the other, to the shipped network (trained on SYNTHETIC arteries) in one
session. Alone: two runs at a time, each of one tile. Shared: two runs at a time of up to four tiles. Wall time in turn,
medians of pairwise ratios; and that every answer has the bits it has alone. A CPU is expected to gain nothing (decision
0025).
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Semaphore

import numpy as np

from intima.arrays import LogitBatch, TileBatch
from intima.inference import load_onnx
from intima.shared_runs import SharedRuns

CALLERS = 8
TILE_PX = 256
AT_ONCE = 2
TILES_PER_RUN = 4
MEMBER = Path(__file__).resolve().parents[1] / "intima" / "assets" / "default_model" / "member-0.onnx"


def main() -> int:
    """Print the figures. Returns 1 where an answer has other bits in company."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiles", type=int, default=8, help="tiles of each caller")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    net = load_onnx(MEMBER.read_bytes()).predict
    rng = np.random.default_rng(0)
    asked = [rng.random((options.tiles, 3, TILE_PX, TILE_PX), np.float32) for _ in range(CALLERS)]
    places = Semaphore(AT_ONCE)

    def alone(tiles: TileBatch) -> LogitBatch:
        with places:
            return net(tiles)

    shared = SharedRuns(net, most_px=TILES_PER_RUN * TILE_PX**2, at_once=AT_ONCE)
    rounds = []
    for _ in range(options.rounds):
        seconds, answers = zip(*(timed(way, asked) for way in (alone, shared.predict)), strict=True)
        rounds.append(seconds)
        same = all(np.array_equal(a, b) for a, b in zip(*answers, strict=True))
        if not same:
            print("an answer has other bits in company")
            return 1
    ratio = statistics.median(a / b for a, b in rounds)
    print("| way | tiles a second |\n|---|---|")
    for place, name in enumerate((f"{AT_ONCE} runs of 1", f"{AT_ONCE} runs of up to {TILES_PER_RUN}, shared")):
        print(f"| {name} | {CALLERS * options.tiles / statistics.median(r[place] for r in rounds):.2f} |")
    print(f"shared over alone: {ratio:.2f}; bits the same in all {options.rounds} rounds")
    return 0


def timed(way: Callable[[TileBatch], LogitBatch], asked: list[TileBatch]) -> tuple[float, list[LogitBatch]]:
    """Let every caller ask for its tiles one by one; return the seconds and the answers."""
    started = time.perf_counter()
    with ThreadPoolExecutor(CALLERS) as pool:
        found = list(pool.map(lambda tiles: np.concatenate([way(t[None]) for t in tiles]), asked))
    return time.perf_counter() - started, found


if __name__ == "__main__":
    sys.exit(main())
