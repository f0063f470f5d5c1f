"""Toy handlers of units: what the ledger's and the runners' tests run in place of torch."""

import os
import signal
import time
from pathlib import Path

from intima.arrays import Json
from intima.errors import Invalid, Unavailable
from intima.store.storage import Storage
from intima.store.work import Report, UnitInput


def add(unit: UnitInput, storage: Storage, report: Report) -> Json:
    """Sum the payload's number and the results of what the unit needs; keep the sum as a blob too."""
    report(0.5, "adding")
    time.sleep(float(unit.payload.get("sleep_s", 0.0)))
    total = int(unit.payload["n"]) + sum(int(r["total"]) for r in unit.results.values())
    _note(unit, "ran")
    return {"total": total, "blob": storage.blobs.put(f"{unit.key}={total}".encode())}


def sleep(unit: UnitInput, storage: Storage, report: Report) -> Json:
    """Sleep, telling progress, and note the process id."""
    _note(unit, f"pid {os.getpid()}")
    steps = int(float(unit.payload["sleep_s"]) / 0.05)
    for step in range(steps):
        report(step / steps, f"step {step}")
        time.sleep(0.05)
    return {"total": 1}


def misbehave(unit: UnitInput, storage: Storage, report: Report) -> Json:
    """Fail in the way the payload names."""
    _note(unit, f"attempt {unit.attempt}")
    how = unit.payload["how"]
    if how == "invalid":
        raise Invalid("Got a slide without a pixel size; need one.", code="pixel_size_missing")
    if how == "unavailable":
        raise Unavailable("The disk is away.")
    if how == "outage" and len(Path(str(unit.payload["notes"])).read_text().splitlines()) <= 5:
        raise Unavailable("The bucket is away.", code="blobs_unavailable")
    if how == "outage":
        return {"total": 1}
    if how == "memory":
        raise MemoryError
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "exit":
        os._exit(7)
    if how == "nan":
        return {"value": float("nan")}
    if how == "once" and unit.attempt > 1:
        return {"total": 1}
    raise ValueError(f"bad \0 luck {how}")


def _note(unit: UnitInput, text: str) -> None:
    """Append a line to the notes file of the test, atomically."""
    notes = unit.payload.get("notes")
    if notes:
        with Path(str(notes)).open("a") as file:
            file.write(f"{unit.key} {text}\n")


def note_gpu(unit: UnitInput, storage: Storage, report: Report) -> Json:
    """Note which GPUs this process may see."""
    with Path(str(unit.payload["notes"])).open("a") as notes:
        notes.write(f"gpu={os.environ['CUDA_VISIBLE_DEVICES']}\n")
    return {"total": 1}
