"""Region reads from JPEG tiles against the decoder alone and against OpenSlide.

``python -m bench reads`` makes a 20480 x 20480 pyramid of JPEG tiles from CMU-1-Small-Region.svs in a temporary folder
and prints Mpixel per CPU second on one thread, each reader once per round, in turn; then the same on the slide itself.
``--side`` and ``--rounds`` make it smaller. Needs ../shared/data.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from openslide import OpenSlide

from intima.geometry import Region
from intima.slides import open_slide
from services.demo import say

SLIDE = Path(__file__).resolve().parents[2] / "shared" / "data" / "wsi" / "svs" / "CMU-1-Small-Region.svs"
TILE_PX = 256
_COARSEST = 8
"""The tissue is 2048 px wide: at an eighth it is one tile."""
Read = Callable[[Region], np.ndarray]


def jpeg_pyramid(path: Path, *, side_px: int, quality: int = 80) -> Path:
    """Write a pyramid of JPEG tiles from the tissue of the slide, its tiles encoded once and repeated."""
    with OpenSlide(SLIDE) as slide:
        tissue = np.asarray(slide.read_region((0, 0), 0, (2048, 2048)))[:, :, :3]
    with tifffile.TiffWriter(path, bigtiff=True) as out:
        side = side_px
        while side_px // side <= _COARSEST:
            step = side_px // side
            small = tissue[::step, ::step]
            encoded = [
                imagecodecs.jpeg8_encode(np.ascontiguousarray(small[y : y + TILE_PX, x : x + TILE_PX]), level=quality)
                for y in range(0, len(small) - TILE_PX + 1, TILE_PX)
                for x in range(0, len(small) - TILE_PX + 1, TILE_PX)
            ]
            count = (side // TILE_PX) ** 2
            out.write(
                (encoded[i % len(encoded)] for i in range(count)),
                shape=(side, side, 3),
                dtype=np.uint8,
                photometric="ycbcr",
                subsampling=(2, 2),
                tile=(TILE_PX, TILE_PX),
                compression="jpeg",
                subfiletype=int(side < side_px),
                resolution=(20_000, 20_000),
                resolutionunit=3,
                metadata=None,
            )
            side //= 2
    return path


def regions(width: int, height: int, *, read_px: int, offset: int, count: int) -> list[Region]:
    """Return neighbouring regions row by row, shifted off the tile borders by ``offset``."""
    across, down = (width - offset) // read_px, (height - offset) // read_px
    cells = [
        Region(offset + x * read_px, offset + y * read_px, read_px, read_px) for y in range(down) for x in range(across)
    ]
    return cells[:count]


def readers(path: Path, stack: ExitStack) -> Iterator[tuple[str, Read]]:
    """Yield every reader by name."""
    ours = stack.enter_context(open_slide(path))
    reference = stack.enter_context(OpenSlide(path))
    file = stack.enter_context(tifffile.TiffFile(path))
    page = file.pages.first
    yield "decoder alone", _limit(path, page)
    yield "intima", ours.read
    yield "OpenSlide", lambda r: np.asarray(reference.read_region((r.x, r.y), 0, (r.width, r.height)))


def _limit(path: Path, page: tifffile.TiffPage) -> Read:
    """Decode the tiles that lie under a region, whole, and put them nowhere."""
    data = path.read_bytes()
    height, width = page.tilelength, page.tilewidth
    across = -(-page.imagewidth // width)
    model = "RGB" if int(page.photometric) == 2 else None

    def read(region: Region) -> np.ndarray:
        out = np.empty((height, width, 3), np.uint8)
        for row in range(region.y // height, -(-(region.y + region.height) // height)):
            for column in range(region.x // width, -(-(region.x + region.width) // width)):
                at = row * across + column
                start = page.dataoffsets[at]
                part = data[start : start + page.databytecounts[at]]
                imagecodecs.jpeg8_decode(part, tables=page.jpegtables, colorspace=model, outcolorspace="RGB", out=out)
        return out

    return read


def measure(path: Path, *, read_px: int, tile_px: int, rounds: int, count: int) -> Iterator[str]:
    """Yield one line per reader and alignment: Mpixel per CPU second and the ratio to OpenSlide."""
    for name, offset in (("aligned", 0), ("unaligned", tile_px // 2 + 3)):
        with ExitStack() as stack:
            width, height = stack.enter_context(OpenSlide(path)).dimensions
            cells = regions(width, height, read_px=read_px, offset=offset, count=count)
            pixels = sum(cell.size.pixels for cell in cells) / 1e6
            opened = dict(readers(path, stack))
            speed: dict[str, list[float]] = {reader: [] for reader in opened}
            for _ in range(rounds):
                for reader, read in opened.items():
                    start = time.process_time()
                    for cell in cells:
                        read(cell)
                    speed[reader].append(pixels / (time.process_time() - start))
            for reader, found in speed.items():
                ratios = [
                    statistics.median(a / b for a, b in zip(found, speed[r], strict=True))
                    for r in ("OpenSlide", "decoder alone")
                ]
                yield f"| {name} | {reader} | {statistics.median(found):.0f} | {ratios[0]:.2f} | {ratios[1]:.2f} |"


def check(path: Path) -> None:
    """Make sure that both readers give the same pixels."""
    with open_slide(path) as ours, OpenSlide(path) as reference:
        for region in (Region(0, 0, 600, 600), Region(131, 777, 701, 333)):
            theirs = np.asarray(reference.read_region((region.x, region.y), 0, (region.width, region.height)))[:, :, :3]
            say(
                f"largest difference from OpenSlide: {np.abs(ours.read(region).astype(int) - theirs).max()} grey levels"
            )


def main() -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=20_480)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--regions", type=int, default=100)
    arguments = parser.parse_args()
    if not SLIDE.is_file():
        sys.stderr.write("needs the folder ../shared/data\n")
        return 1
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as scratch:
        path = jpeg_pyramid(Path(scratch) / "pyramid.tif", side_px=arguments.side)
        say(f"{arguments.side} x {arguments.side} pyramid, {path.stat().st_size / 2**20:.0f} MiB, 1024 px regions")
        report(path, arguments, read_px=1024, tile_px=TILE_PX)
    say("CMU-1-Small-Region.svs, 480 px regions")
    report(SLIDE, arguments, read_px=480, tile_px=240)
    return 0


def report(path: Path, arguments: argparse.Namespace, *, read_px: int, tile_px: int) -> None:
    """Check and measure one file."""
    check(path)
    say("| regions | reader | Mpx per CPU s | x OpenSlide | of the decoder alone |")
    say("|---|---|---|---|---|")
    for line in measure(path, read_px=read_px, tile_px=tile_px, rounds=arguments.rounds, count=arguments.regions):
        say(line)


if __name__ == "__main__":
    sys.exit(main())
