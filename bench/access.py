"""What the gate costs a request, and what one audit record costs: ``python -m bench access``."""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from fastapi.testclient import TestClient

from intima.contracts.access import Limits, TokenRequest
from intima.store import tokens
from services.access.gate import SEGMENT, Asked, Operation, TokenGate
from services.api.app import create_app
from services.api.settings import Settings

_ROUTE = "/v1/models"


def main() -> int:
    """Print one table of medians over the rounds; ratios are against the same route without tokens."""
    parser = argparse.ArgumentParser(prog="python -m bench access", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=300)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        open_app = create_app(Settings(data=Path(one)))
        closed_app = create_app(Settings(data=Path(other), auth="tokens"))
        with TestClient(open_app) as free, TestClient(closed_app) as held:
            gate = held.app.state.gate  # type: ignore[attr-defined]
            plain, limited = (_token(gate, limits) for limits in (Limits(), Limits(requests_per_minute=1_000_000)))
            ways: dict[str, Callable[[], object]] = {
                "without tokens": lambda: free.get(_ROUTE),
                "with a token": lambda: held.get(_ROUTE, headers=plain),
                "with a token and a rate": lambda: held.get(_ROUTE, headers=limited),
            }
            times = _rounds(ways, asked.rounds, asked.requests)
            change = Asked(Operation("create_slide", SEGMENT), plain["Authorization"], "/v1/slides", "req_x", 1000)
            entry = _rounds({"one record": lambda: gate.admit(change)}, asked.rounds, asked.requests)["one record"]
    base = statistics.median(times["without tokens"])
    for way, found in times.items():
        took = statistics.median(found)
        print(f"{way:28} {1000 * took:7.3f} ms a request   {took / base:5.2f} x")
    print(f"{'an audit record (SQLite)':28} {1000 * statistics.median(entry):7.3f} ms")
    return 0


def _token(gate: TokenGate, limits: Limits) -> dict[str, str]:
    with gate.storage.writing() as connection:
        made = tokens.create_token(connection, TokenRequest(name="b", scopes=("admin",), limits=limits), by="bench")
    return {"Authorization": f"Bearer {made.token}"}


def _rounds(ways: dict[str, Callable[[], object]], rounds: int, requests: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, ask in ways.items():
            started = time.perf_counter()
            for _ in range(requests):
                ask()
            times[way].append((time.perf_counter() - started) / requests)
    return times


if __name__ == "__main__":
    sys.exit(main())
