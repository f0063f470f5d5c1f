"""Images that exist while a unit runs, in files without a name: a process that is killed leaves nothing behind."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from intima.store.incoming import FULL, MAKE_ROOM, StorageFull, full_where

Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True, slots=True)
class ScratchRaster(Generic[Scalar]):
    """A (height, width) image in a file; zero where nothing was written. It keeps no page of it in memory."""

    file: IO[bytes]
    shape: tuple[int, int]
    dtype: np.dtype[Scalar]

    def write(self, top: int, left: int, pixels: NDArray[Scalar]) -> None:
        """Write a window whose corner is (top, left). Raises StorageFull."""
        window = np.ascontiguousarray(pixels, dtype=self.dtype)
        rows, columns = window.shape
        height, width = self.shape
        if top < 0 or left < 0 or top + rows > height or left + columns > width:
            raise IndexError(
                f"Got rows {top} + {rows} and columns {left} + {columns}; the image is {height} x {width}."
            )
        pieces = [window] if columns == width else window
        for row, piece in enumerate(pieces):
            self._write_at(((top + row) * width + left) * self.dtype.itemsize, memoryview(piece).cast("B"))

    def _write_at(self, offset: int, data: memoryview) -> None:
        with full_where("No room for the intermediate images of this slide."):
            while data:
                written = os.pwrite(self.file.fileno(), data, offset)
                data, offset = data[written:], offset + written

    def read(self, rows: slice, columns: slice, /) -> NDArray[Scalar]:
        """Return a window; both slices are inside the image and have a start and a stop."""
        out = np.empty((rows.stop - rows.start, columns.stop - columns.start), self.dtype)
        width, size = self.shape[1], self.dtype.itemsize
        pieces = [out] if out.shape[1] == width else out
        for row, piece in enumerate(pieces):
            self._read_at(((rows.start + row) * width + columns.start) * size, memoryview(piece).cast("B"))
        return out

    def _read_at(self, offset: int, into: memoryview) -> None:
        while into:
            count = os.preadv(self.file.fileno(), [into], offset)
            if count == 0:
                raise EOFError("The scratch file is shorter than its image.")
            into, offset = into[count:], offset + count


@dataclass(frozen=True, slots=True)
class Scratch:
    """A place for images of one piece of work."""

    folder: Path
    floor_bytes: int
    """Must stay free on the volume."""
    stack: ExitStack

    def raster(self, shape: tuple[int, int], dtype: "type[Scalar] | np.dtype[Scalar]") -> ScratchRaster[Scalar]:
        """Make an image of zeros. Raises StorageFull where the volume has no room for all of it."""
        kind = np.dtype(dtype)
        wanted = shape[0] * shape[1] * kind.itemsize
        free = shutil.disk_usage(self.folder).free
        if free - wanted < self.floor_bytes:
            raise StorageFull(
                f"An intermediate image takes {wanted} bytes; {free} are free and {self.floor_bytes} must stay free.",
                hint=MAKE_ROOM,
            )
        file = tempfile.TemporaryFile(dir=self.folder, buffering=0)  # noqa: SIM115 - closed by the stack
        self.stack.enter_context(file)
        _reserve(file.fileno(), wanted)
        return ScratchRaster(file, shape, kind)


def _reserve(descriptor: int, size: int) -> None:
    """Take the room of a file at once, where the volume can. Raises StorageFull."""
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno in FULL:
            raise StorageFull(f"No room for an intermediate image of {size} bytes.", hint=MAKE_ROOM) from error
        os.truncate(descriptor, size)


@contextmanager
def open_scratch(folder: Path, *, floor_bytes: int) -> Iterator[Scratch]:
    """Open a scratch place in a folder, which is made where it is missing; its images go when it closes."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        yield Scratch(folder, floor_bytes, stack)
