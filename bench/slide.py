"""Whole slides: time, peak memory and artefacts of slides of growing size (goals P4 and P13).

The slides are SYNTHETIC: one phantom section of 4,096 px, repeated over a JPEG-tiled TIFF at 0.5 µm per pixel with
glass between sections. Each is segmented in a process of its own, with uncertainty by the default sampler and all
artefacts.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile

from bench._memory import resident_bytes
from intima.arrays import RgbImage
from intima.contracts.segmentation import SegmentationRequest, UncertaintySpec
from intima.geometry import Size
from intima.inference import load_model
from intima.phantom import draw_specs, render
from intima.registry import DEFAULT_MODEL, publish_default, resolve
from intima.resampling import resample_image
from intima.segmentation import plan_segmentation, segment_slide
from intima.slides import open_slide
from intima.slides.isolation import inspect_isolated
from intima.store.catalog import StoredSlide
from intima.store.storage import attach_storage, open_storage

_SECTION_PX = 4096
_TILE_PX = 512
_MPP = 0.5
_HEADER = (
    "side px",
    "pixels M",
    "sampler",
    "CPU s",
    "wall s",
    "CPU s per M",
    "peak RSS MB",
    "inference / measures / artefacts s",
    "vessels",
    "files MB",
)
_GLASS = (244, 242, 238)


def main() -> None:
    """Print one line per slide."""
    options = _options()
    if options.child:
        sys.stdout.write(json.dumps(_segmented(Path(options.child), Path(options.store), options)) + "\n")
        return
    with tempfile.TemporaryDirectory(prefix="intima-bench-", dir=options.folder) as folder:
        store = open_storage(Path(folder) / "store")
        publish_default(store)
        store.close()
        section = _section()
        print("| " + " | ".join(_HEADER) + " |\n" + "|---" * len(_HEADER) + "|", flush=True)
        for side in options.sides:
            path = Path(folder) / "slide.tiff"
            _write_slide(path, section, side)
            found = _in_child(path, Path(folder) / "store", options)
            _print(side, found)
            path.unlink()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench slide", description=__doc__)
    parser.add_argument("--sides", type=int, nargs="+", default=[2048, 5000, 10000, 20000])
    parser.add_argument("--sampler", default="auto")
    parser.add_argument("--passes", type=int, default=None)
    parser.add_argument("--mpp", type=float, default=_MPP, help="pixel size that is stated")
    parser.add_argument("--folder", default=None, help="where slides and store lie while it runs")
    parser.add_argument("--child", default=None, help=argparse.SUPPRESS)
    parser.add_argument("--store", default=None, help=argparse.SUPPRESS)
    return parser.parse_args()


def _section() -> RgbImage:
    spec = draw_specs(seed=71, subjects=1, size_px=1024, mpp=2.0)[0].spec
    return resample_image(render(spec).image, Size(_SECTION_PX, _SECTION_PX))


def _write_slide(path: Path, section: RgbImage, side: int) -> None:
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        size = (1e4 / _MPP, 1e4 / _MPP)
        file.write(
            _tiles(section, side),
            shape=(side, side, 3),
            dtype=np.uint8,
            tile=(_TILE_PX, _TILE_PX),
            photometric="rgb",
            compression="jpeg",
            compressionargs={"level": 85},
            resolution=size,
            resolutionunit="CENTIMETER",
        )


def _tiles(section: RgbImage, side: int) -> Iterator[RgbImage]:
    glass = np.full((_TILE_PX, _TILE_PX, 3), _GLASS, np.uint8)
    steps = range(0, side, _TILE_PX)
    for top in steps:
        for left in steps:
            y, x = top % _SECTION_PX, left % _SECTION_PX
            tissue = (top // _SECTION_PX + left // _SECTION_PX) % 2 == 0
            yield section[y : y + _TILE_PX, x : x + _TILE_PX] if tissue else glass


def _in_child(path: Path, store: Path, options: argparse.Namespace) -> dict[str, object]:
    command = [sys.executable, "-m", "bench", "slide", "--child", str(path), "--store", str(store)]
    command += ["--sampler", options.sampler, "--mpp", str(options.mpp)]
    command += [] if options.passes is None else ["--passes", str(options.passes)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def _segmented(path: Path, folder: Path, options: argparse.Namespace) -> dict[str, object]:
    storage = attach_storage(folder)
    spec = UncertaintySpec(sampler=options.sampler, passes=options.passes)
    stored = StoredSlide(
        id="bench",
        sha256="0" * 64,
        name=path.name,
        info=inspect_isolated(path, name=path.name),
        mpp=options.mpp,
        subject=None,
        created_at="2026-01-01T00:00:00Z",
    )
    version = resolve(storage, DEFAULT_MODEL)
    payload = plan_segmentation(stored, version, SegmentationRequest(model=version.ref, uncertainty=spec))
    started, used = time.perf_counter(), time.process_time()
    with open_slide(path) as slide:
        result = segment_slide(
            slide, storage, payload=payload, model=load_model(storage, version.ref), report=lambda _share, _text: None
        )
    storage.close()
    return {
        "sampler": f"{payload.uncertainty.sampler} {payload.uncertainty.passes}",
        "cpu_s": time.process_time() - used,
        "wall_s": time.perf_counter() - started,
        "rss_mb": resident_bytes("VmHWM") / 2**20,
        "timings": result.timings_s,
        "vessels": len(result.vessels),
        "files": {a.name: round(a.bytes / 2**20, 1) for a in result.artefacts},
        "warnings": result.warnings,
    }


def _print(side: int, found: dict[str, object]) -> None:
    million = side**2 / 1e6
    stages = " / ".join(f"{seconds:.0f}" for seconds in found["timings"].values())
    print(
        f"| {side} | {million:.0f} | {found['sampler']} | {found['cpu_s']:.0f} | {found['wall_s']:.0f} | "
        f"{found['cpu_s'] / million:.2f} | {found['rss_mb']:.0f} | {stages} | {found['vessels']} | {found['files']} |",
        flush=True,
    )
    print(found["warnings"], file=sys.stderr)


if __name__ == "__main__":
    main()
