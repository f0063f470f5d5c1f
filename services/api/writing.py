"""Bodies that go to disk while they come: one thread writes a batch, the loop reads the next."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

import anyio

from intima.store.incoming import MOST_PIECES, Piece

BATCH_BYTES = 2**20
"""Written and hashed in one go, while the next batch comes."""

Write: TypeAlias = Callable[[list[Piece]], None]
"""Appends pieces to a file."""


class Writer:
    """Writes and hashes one batch in a thread while the next one comes."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._batch: list[Piece] = []
        self._bytes = 0
        self._running: asyncio.Future[None] | None = None

    async def take(self, pieces: list[Piece]) -> None:
        """Empty a list of pieces into the batch, and pass that on once it is large enough. Raises StorageFull."""
        self._batch += pieces
        self._bytes += sum(map(len, pieces))
        pieces.clear()
        if self._bytes >= BATCH_BYTES or len(self._batch) >= MOST_PIECES:
            await self._pass_on()

    async def finish(self) -> None:
        """Write what is left. Raises StorageFull."""
        if self._batch:
            await self._pass_on()
        await self._written()

    async def _written(self) -> None:
        """Wait for the batch that is being written; a request that is cancelled meanwhile leaves it running."""
        if self._running is not None:
            await asyncio.wait({self._running})
            self._running.result()

    async def rest(self) -> None:
        """Wait for the thread, well or not, before the file goes."""
        if self._running is not None:
            with anyio.CancelScope(shield=True):
                await asyncio.wait({self._running})
            self._running.exception()

    async def _pass_on(self) -> None:
        await self._written()
        self._running = asyncio.get_running_loop().run_in_executor(None, self._write, self._batch)
        self._batch, self._bytes = [], 0


@asynccontextmanager
async def writing(write: Write) -> AsyncIterator[Writer]:
    """Open a writer; its thread has come to rest at the end, whatever happened."""
    writer = Writer(write)
    try:
        yield writer
    finally:
        await writer.rest()
