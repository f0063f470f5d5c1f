"""Slow clients at the door: how long each kind holds a connection, and whether others are served meanwhile."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import httpx
import numpy as np

Kind: TypeAlias = Literal["header", "silent body", "dripping body"]
KINDS: Sequence[Kind] = ("header", "silent body", "dripping body")
PATIENCE_S = 40.0
DRIP_S = 2.0
_HEAD = b"POST /v1/slides HTTP/1.1\r\nhost: localhost\r\n"
_BODY = b"content-type: multipart/form-data; boundary=x\r\ncontent-length: 1000000\r\n\r\n--x\r\n"


@dataclass(frozen=True, slots=True)
class Slow:
    """What became of slow clients of one kind."""

    kind: Kind
    clients: int
    open_after: int
    """Connections that were still open after PATIENCE_S."""
    last_closed_s: float
    livez_p99_ms: float
    """Of /livez, asked ten times a second meanwhile."""


def try_slow_clients(port: int, *, clients: int) -> list[Slow]:
    """Open many slow connections, one kind after the other."""
    return [asyncio.run(_try_kind(port, kind, clients)) for kind in KINDS]


async def _try_kind(port: int, kind: Kind, clients: int) -> Slow:
    stop = asyncio.Event()
    probe = asyncio.create_task(_probe(port, stop))
    held = await asyncio.gather(*(_hold(port, kind) for _ in range(clients)))
    stop.set()
    closed = [seconds for seconds in held if seconds is not None]
    return Slow(
        kind,
        clients,
        open_after=clients - len(closed),
        last_closed_s=max(closed, default=0.0),
        livez_p99_ms=float(np.percentile(await probe, 99)),
    )


async def _hold(port: int, kind: Kind) -> float | None:
    """Be one slow client; returns after how many seconds the door closed, or None where it did not."""
    started = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    drip = asyncio.create_task(_drip(writer, kind))
    try:
        async with asyncio.timeout(PATIENCE_S):
            while await reader.read(4096):
                pass
        return time.monotonic() - started
    except TimeoutError:
        return None
    except ConnectionError:
        return time.monotonic() - started
    finally:
        drip.cancel()
        writer.close()


async def _drip(writer: asyncio.StreamWriter, kind: Kind) -> None:
    try:
        writer.write(_HEAD if kind == "header" else _HEAD + _BODY)
        while kind != "silent body":
            await asyncio.sleep(DRIP_S)
            writer.write(b"x")
            await writer.drain()
    except ConnectionError:
        return


async def _probe(port: int, stop: asyncio.Event) -> list[float]:
    times = []
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        while not stop.is_set():
            started = time.monotonic()
            (await client.get("/livez")).raise_for_status()
            times.append(1000 * (time.monotonic() - started))
            await asyncio.sleep(0.1)
    return times
