"""All named architectures in one benchmark over HTTP, on a local stack: scores, time of each, workers against one.

``python -m bench contenders phantom|skin|kidney [--slots 2 1] [--protocols loocv kfold3] [--trials 2] [--names ...]``.
SAM, MedSAM and SegFormer start from random weights here, since their files cannot be had, the first two at 256 px:
their scores show that the machinery works and not what they can do. Seconds of an architecture are summed over its
units. With several numbers of slots the benchmark runs once on each, in a store of its own: the speed-up is that of
wall times, and the tables of scores must be equal to the byte. With ``--store`` the benchmark lives in a folder: the
same command takes it up again where it was, after whatever stopped it.
"""

import argparse
import csv
import io
import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from bench.real_data import DATA, SETS
from bench.real_data import dataset_zip as real_zip
from intima.phantom import draw_specs
from services.demo import dataset_zip as phantom_zip
from services.demo import follow, say
from services.local import Settings, running_stack

WISHES: dict[str, dict[str, Any]] = {
    "unet": {"name": "unet"},
    "deeplabv3plus": {"name": "deeplabv3plus"},
    "segformer": {"name": "segformer", "weights": "random"},
    "sam": {"name": "sam", "weights": "random", "input_px": 256},
    "medsam": {"name": "medsam", "weights": "random", "input_px": 256},
    "medsam_unet": {"name": "medsam_unet"},
    "litemedsam": {"name": "litemedsam"},
}
PROTOCOLS: dict[str, dict[str, Any]] = {"loocv": {"kind": "loocv"}, "kfold3": {"kind": "kfold", "k": 3}}


def main() -> int:
    """Run one set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("set", choices=["phantom", *SETS])
    parser.add_argument("--names", nargs="+", default=list(WISHES), choices=list(WISHES))
    parser.add_argument("--protocols", nargs="+", default=list(PROTOCOLS), choices=list(PROTOCOLS))
    parser.add_argument("--trials", type=int, default=2)
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--slots", type=int, nargs="+", default=[2])
    parser.add_argument("--port", type=int, default=8640)
    parser.add_argument("--store", type=Path, help="folder to keep the benchmark in; one number of slots")
    arguments = parser.parse_args()
    if arguments.set != "phantom" and not DATA.is_dir():
        sys.stderr.write("needs the folder ../shared/data\n")
        return 1
    if arguments.store and len(arguments.slots) > 1:
        parser.error("--store keeps one benchmark: give one number of slots")
    runs = [run_on(slots, arguments) for slots in arguments.slots]
    for slots, one in zip(arguments.slots[1:], runs[1:], strict=True):
        ratio, equal = one.wall_s / runs[0].wall_s, one.scores == runs[0].scores
        say(f"{arguments.slots[0]} slots against {slots}: {ratio:.2f} times as fast, tables equal: {equal}")
    return 0 if all(one.scores == runs[0].scores for one in runs) else 1


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the benchmark."""

    wall_s: float
    scores: str


def run_on(slots: int, arguments: argparse.Namespace) -> Run:
    """Run the benchmark in a new store on so many slots."""
    os.environ["INTIMA_SLOTS"] = str(slots)
    with nullcontext(arguments.store) if arguments.store else tempfile.TemporaryDirectory() as scratch:
        Path(scratch).mkdir(parents=True, exist_ok=True)
        settings = Settings(data=Path(scratch), port=arguments.port)
        with running_stack(settings) as stack, httpx.Client(base_url=stack.url, timeout=300.0) as client:
            return run(client, arguments, Path(scratch) / "benchmark.json", slots=slots)


def run(client: httpx.Client, arguments: argparse.Namespace, note: Path, *, slots: int) -> Run:
    """Submit the benchmark, or take up the one that is noted, follow it, print the tables."""
    taken_up = note.exists()
    started = json.loads(note.read_text()) if taken_up else submit(client, arguments)
    note.write_text(json.dumps(started))
    at = time.monotonic()
    job = follow(client, started["job"])
    wall_s = time.monotonic() - at
    since = " since it was taken up again" if taken_up else ""
    say(f"{arguments.set}: {started['units']} units, {job['state']} in {wall_s:.0f} s{since} on {slots} slots")
    units = client.get(f"/v1/jobs/{started['job']}/units").raise_for_status().json()
    scores = client.get(f"/v1/benchmarks/{started['id']}/scores.csv").raise_for_status().text
    for line in table(units, scores, arguments):
        say(line)
    return Run(wall_s, scores)


def submit(client: httpx.Client, arguments: argparse.Namespace) -> dict[str, Any]:
    """Upload the set and start the benchmark."""
    files = {"file": ("set.zip", dataset_of(arguments.set))}
    dataset = client.post("/v1/datasets", files=files).raise_for_status().json()
    spec = {
        "dataset": dataset["id"],
        "architectures": [WISHES[name] for name in arguments.names],
        "protocols": [PROTOCOLS[name] for name in arguments.protocols],
        "search": {"trials": arguments.trials},
        "members": 1,
        "preset": arguments.preset,
    }
    answer = client.post("/v1/benchmarks", json=spec)
    if answer.is_error:
        raise SystemExit(answer.text)
    started: dict[str, Any] = answer.json()
    return started


def dataset_of(name: str) -> bytes:
    """Return a set as a dataset zip; the phantoms are nine subjects, one section each."""
    if name == "phantom":
        return phantom_zip(draw_specs(seed=20, subjects=9, size_px=768, mpp=1.0), name="synthetic arteries")
    return real_zip(name)


def table(units: list[dict[str, Any]], scores: str, arguments: argparse.Namespace) -> Iterator[str]:
    """Yield a line per architecture: macro Dice over subjects by protocol, and seconds by kind of unit."""
    dice: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in csv.DictReader(io.StringIO(scores)):
        if (row["metric"], row["class"]) == ("dice", "macro") and row["value"]:
            dice[row["model"], row["protocol"]].append(float(row["value"]))
    kinds = ("trial", "fold", "fit", "publish")
    yield (
        f"{'model':<16}" + "".join(f"{p:>22}" for p in arguments.protocols) + "".join(f"{k + ' s':>11}" for k in kinds)
    )
    for name in arguments.names:
        took = {
            k: sum(u["seconds"] or 0.0 for u in units if u["key"].startswith(f"{name}/") and u["kind"] == k)
            for k in kinds
        }
        shown = "".join(f"{spread(dice[name, p]):>22}" for p in arguments.protocols)
        yield f"{name:<16}{shown}" + "".join(f"{took[k]:>11.0f}" for k in kinds)


def spread(values: list[float]) -> str:
    """Return a mean with its standard deviation over cases."""
    return f"{np.mean(values):.3f} (SD {np.std(values, ddof=1):.3f})" if len(values) > 1 else "n/a"


if __name__ == "__main__":
    sys.exit(main())
