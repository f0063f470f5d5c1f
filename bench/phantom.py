"""Compare the morphometry of true masks with the exact truth of phantoms, and time both.

python bench/phantom.py                        one table: largest deviation over 20 phantoms, per measure
python bench/phantom.py --figures docs/images  also write phantom.png and phantom-truth.png (synthetic)
"""

import argparse
import time
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from intima.arrays import RgbImage
from intima.geometry import MicronsPerPixel
from intima.labels import ARTERY
from intima.morphometry import measure_vessels
from intima.phantom import Phantom, draw_specs, render

TRUTHS = {
    "lumen_area": "lumen_um2",
    "neointimal_area": "neointima_um2",
    "medial_area": "media_um2",
    "iel_area": "iel_um2",
    "eel_area": "eel_um2",
    "lumen_perimeter": "lumen_perimeter_um",
    "iel_perimeter": "iel_perimeter_um",
    "eel_perimeter": "eel_perimeter_um",
    "intima_media_ratio": "intima_media_ratio",
    "stenosis": "stenosis_percent",
}
FIGURE_SEED, FIGURE_SUBJECT = 7, 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subjects", type=int, default=20)
    parser.add_argument("--size-px", type=int, default=768)
    parser.add_argument("--figures", type=Path)
    arguments = parser.parse_args()
    table(arguments.subjects, arguments.size_px)
    if arguments.figures:
        figures(arguments.figures)


def table(subjects: int, size_px: int) -> None:
    mpp = 768 / size_px
    deviations: dict[str, list[float]] = {name: [] for name in TRUTHS}
    rendering, measuring = [], []
    for named in draw_specs(seed=5, subjects=subjects, size_px=size_px, mpp=mpp):
        start = time.perf_counter()
        phantom = render(named.spec)
        rendered = time.perf_counter()
        vessels = measure_vessels(phantom.mask, schema=ARTERY, mpp=MicronsPerPixel(mpp, mpp))
        rendering.append(rendered - start)
        measuring.append(time.perf_counter() - rendered)
        found = {m.name: m.value for m in vessels[0].measures}
        for name, field in TRUTHS.items():
            truth, value = getattr(phantom.truth, field), found[name]
            if truth and value is not None:
                deviations[name].append(value / truth - 1)
    print(f"{subjects} phantoms of {size_px} px; ratio measured / true: mean, and largest deviation")
    for name, values in deviations.items():
        print(f"{name:<20} {1 + np.mean(values):8.5f}  {100 * np.max(np.abs(values)):6.3f} %  (n = {len(values)})")
    print(f"render {np.median(rendering):.2f} s, measure {np.median(measuring):.2f} s (medians)")


def figures(folder: Path) -> None:
    spec = draw_specs(seed=FIGURE_SEED, subjects=FIGURE_SUBJECT)[-1].spec
    phantom = render(spec)
    folder.mkdir(parents=True, exist_ok=True)
    save(phantom.image, folder / "phantom.png", width=768)
    save(np.hstack([phantom.image, overlay(phantom)]), folder / "phantom-truth.png", width=1200)


def overlay(phantom: Phantom) -> RgbImage:
    """Tint the layers in their schema's colours and draw their borders."""
    colours = np.array([c.rgb for c in ARTERY.classes], dtype=np.float64)[phantom.mask]
    opacity = np.where(phantom.mask > 0, 0.45, 0.0)
    border = np.zeros(phantom.mask.shape, dtype=bool)
    for index in range(1, len(ARTERY)):
        region = phantom.mask == index
        border |= region & ~ndimage.binary_erosion(region, iterations=2)
    opacity[border] = 0.95
    mixed = phantom.image * (1 - opacity[..., None]) + colours * opacity[..., None]
    result: RgbImage = np.rint(mixed).astype(np.uint8)
    return result


def save(image: RgbImage, path: Path, *, width: int) -> None:
    height = round(image.shape[0] * width / image.shape[1])
    small = Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS)
    small.quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(path, optimize=True)
    print(f"{path} {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
