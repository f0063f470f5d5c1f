"""How often the leakage guard finds copies and overlaps, and how often it cries wolf.

``python -m bench leakage``: crops of real sections (../shared/data) with a known overlap, re-encoded, brightened and
turned; changed copies; and images that are known to share nothing (neighbouring tiles, other biopsies, phantoms).
"""

import io
import sys
import time
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image

from intima import likeness
from intima.likeness import Fingerprint, find_copies, find_overlaps, take_fingerprint
from intima.phantom import draw_specs, render

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SHARES = (0.9, 0.75, 0.6, 0.5, 0.4, 0.3, 0.25, 0.2)
CROPS = 3
"""Pairs of crops per image and overlap."""
LEAST_TISSUE = 0.25
"""Part of the overlap that must show tissue: glass on glass is no leak."""


def load(name: str) -> list[np.ndarray]:
    """Return the images of a set."""
    return [np.asarray(Image.open(p).convert("RGB")) for p in sorted((DATA / name / "images").iterdir())]


def all_pairs(count: int) -> list[tuple[int, int]]:
    """Return every pair once."""
    return list(combinations(range(count), 2))


def false_alarms(images: list[np.ndarray]) -> tuple[int, int, float, float]:
    """Return pairs, alarms, seconds for fingerprints, seconds for pairs, in CPU time."""
    start = time.process_time()
    prints = [take_fingerprint(image) for image in images]
    middle = time.process_time()
    pairs = all_pairs(len(prints))
    found = {(f.a, f.b) for f in [*find_copies(prints, pairs), *find_overlaps(prints, pairs)]}
    return len(pairs), len(found), middle - start, time.process_time() - middle


def spoiled(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a crop brightened or darkened, re-encoded as JPEG and turned."""
    changed = np.clip(image * rng.uniform(0.8, 1.2) + rng.uniform(-15, 15), 0, 255).astype(np.uint8)
    view = int(rng.integers(8))
    mirrored = jpeg(changed, 60)[:, ::-1] if view >= 4 else jpeg(changed, 60)
    return np.ascontiguousarray(np.rot90(mirrored, view % 4))


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """Return an image through JPEG."""
    out = io.BytesIO()
    Image.fromarray(image).save(out, "jpeg", quality=quality)
    return np.asarray(Image.open(out))


def crops(images: list[np.ndarray], share: float, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield two crops of one image that share this part of their area, and tissue in it."""
    for image in images:
        for _ in range(CROPS):
            side = int(0.55 * len(image))
            aslant = rng.random() < 0.5 or side * (1 - share) > len(image) - side
            down, right = (side * (1 - share**0.5),) * 2 if aslant else (0, side * (1 - share))
            y = int(rng.integers(len(image) - side - int(down) + 1))
            x = int(rng.integers(len(image) - side - int(right) + 1))
            first = image[y : y + side, x : x + side]
            second = image[y + int(down) : y + int(down) + side, x + int(right) : x + int(right) + side]
            if tissue(first[int(down) :, int(right) :]) >= LEAST_TISSUE:
                yield first, spoiled(second, rng)


def tissue(image: np.ndarray) -> float:
    """Return the part of an image that is darker than glass."""
    return float((image.min(2) < 200).mean())


def found_overlap(first: np.ndarray, second: np.ndarray) -> bool:
    """Say whether the pair is found at all."""
    prints = [take_fingerprint(first), take_fingerprint(second)]
    return bool(find_overlaps(prints, [(0, 1)]) or find_copies(prints, [(0, 1)]))


CHANGES: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "JPEG quality 30": lambda i, _: jpeg(i, 30),
    "brightness, contrast": lambda i, r: np.clip(i * r.uniform(0.7, 1.1) + r.uniform(-20, 20), 0, 255).astype(np.uint8),
    "turned, brightened, JPEG 60": spoiled,
    "half the size": lambda i, _: np.asarray(Image.fromarray(i).resize((i.shape[1] // 2, i.shape[0] // 2))),
}


def found_copy(image: np.ndarray, changed: np.ndarray) -> bool:
    """Say whether a changed copy is found by its hash."""
    prints: list[Fingerprint] = [take_fingerprint(image), take_fingerprint(changed)]
    return bool(find_copies(prints, [(0, 1)]))


def main() -> int:
    """Print the tables."""
    if not DATA.is_dir():
        sys.stderr.write("needs the folder ../shared/data\n")
        return 1
    rng = np.random.default_rng(0)
    sets = {name: load(name) for name in ("skin-layers-pas", "kidney-glomeruli-pas")}
    sets["phantoms"] = [render(s.spec).image for s in draw_specs(seed=0, subjects=9, size_px=768, mpp=1.0)]
    print(f"thresholds: copies {likeness.COPY_SCORE}, overlaps {likeness.SCORE}\n")
    print("| unrelated images | pairs | alarms | fingerprint, ms CPU | pair, ms CPU |\n|---|---|---|---|---|")
    for name, images in sets.items():
        pairs, alarms, prints_s, pairs_s = false_alarms(images)
        print(f"| {name} | {pairs} | {alarms} | {1e3 * prints_s / len(images):.1f} | {1e3 * pairs_s / pairs:.2f} |")
    tiles = sets["skin-layers-pas"] + sets["kidney-glomeruli-pas"]
    print("\n| overlap | found | of |\n|---|---|---|")
    for share in SHARES:
        hits = [found_overlap(*pair) for pair in crops(tiles, share, rng)]
        print(f"| {share:.0%} | {np.mean(hits):.1%} | {len(hits)} |")
    print("\n| copy | found | of |\n|---|---|---|")
    for name, change in CHANGES.items():
        hits = [found_copy(image, change(image, rng)) for image in tiles]
        print(f"| {name} | {np.mean(hits):.1%} | {len(hits)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
