"""Measures by the default model against the known truth of synthetic arteries nobody trained on.

``python -m bench.default_model [--phantoms 20] [--images docs/images]``: the same path as POST /v1/segment, in process.
"""

import argparse
import io
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from intima.contracts.segmentation import SegmentationRequest, SegmentationResult, SlideInfo
from intima.inference import LoadedModel, load_model
from intima.phantom import Phantom, draw_specs, render
from intima.registry import publish_default
from intima.segmentation import plan_segmentation, segment_slide
from intima.slides.memory import slide_from_image
from intima.store.catalog import StoredSlide
from intima.store.storage import Storage, open_storage

UNSEEN_SEED = 987_654
SIZE_PX, MPP = 768, 1.0
PANEL_PX = 480
TRUTHS = {
    "lumen_area": "lumen_um2",
    "neointimal_area": "neointima_um2",
    "medial_area": "media_um2",
    "intima_media_ratio": "intima_media_ratio",
    "stenosis": "stenosis_percent",
}
FLOOR = {"intima_media_ratio": 0.05, "stenosis": 2.0, "neointimal_area": 2000.0}
"""Below this truth a relative error says nothing; such phantoms are counted, and their absolute error shown."""


def segment(storage: Storage, model: LoadedModel, phantom: Phantom) -> SegmentationResult:
    """Segment one phantom as the api does."""
    info = SlideInfo(format="png", width=SIZE_PX, height=SIZE_PX, levels=1, mpp=MPP, vendor=None)
    stored = StoredSlide("sld_bench", "0" * 64, "synthetic.png", info, None, None, "")
    payload = plan_segmentation(stored, model.version, SegmentationRequest(model=model.version.ref))
    slide = slide_from_image(phantom.image, info)
    return segment_slide(slide, storage, payload=payload, model=model, report=lambda _fraction, _message: None)


def main() -> int:
    """Print the table; with --images also write overlay and uncertainty of the first phantom."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--phantoms", type=int, default=20)
    parser.add_argument("--images", type=Path, default=None)
    arguments = parser.parse_args()
    specs = draw_specs(seed=UNSEEN_SEED, subjects=arguments.phantoms, size_px=SIZE_PX, mpp=MPP)
    with tempfile.TemporaryDirectory() as folder:
        storage = open_storage(Path(folder))
        model = load_model(storage, publish_default(storage).ref)
        print(f"{model.version.ref}, {arguments.phantoms} unseen synthetic arteries, {SIZE_PX} px at {MPP} um/px")
        rows = []
        for index, named in enumerate(specs):
            phantom = render(named.spec)
            result = segment(storage, model, phantom)
            rows.append((phantom, result))
            if arguments.images is not None and index == 0:
                write_images(storage, phantom, result, arguments.images)
    for line in table(rows):
        print(line)
    return 0


def write_images(storage: Storage, phantom: Phantom, result: SegmentationResult, folder: Path) -> None:
    """Write image, overlay and uncertainty side by side, each with its caption, as docs/images/segmented.png."""
    found = {a.name: storage.blobs.read(a.sha256) for a in result.artefacts}
    panels = [
        ("synthetic EVG artery, not in training", Image.fromarray(phantom.image)),
        ("mask of the default model", Image.open(io.BytesIO(found["overlay.png"])).convert("RGB")),
        ("predictive entropy", Image.open(io.BytesIO(found["uncertainty.png"])).convert("RGB")),
    ]
    scaled = [(text, p.resize((round(p.width * PANEL_PX / p.height), PANEL_PX))) for text, p in panels]
    sheet = Image.new("RGB", (sum(p.width + 8 for _, p in scaled), PANEL_PX + 22), "white")
    left = 0
    for text, panel in scaled:
        sheet.paste(panel, (left, 22))
        ImageDraw.Draw(sheet).text((left + 4, 4), text, fill="black", font_size=14)
        left += panel.width + 8
    sheet.save(folder / "segmented.png", optimize=True)


def table(rows: list[tuple[Phantom, SegmentationResult]]) -> list[str]:
    """Return one line per measure: median and worst relative error, phantoms left out and undefined ones."""
    lines = [
        f"{'measure':<20}{'median |error|':>16}{'worst':>10}{'n':>5}{'undefined':>11}  near zero: worst absolute error"
    ]
    for name, field in TRUTHS.items():
        relative, absolute, undefined = [], [], 0
        for phantom, result in rows:
            truth = float(getattr(phantom.truth, field))
            found = {m.name: m.value for v in result.vessels[:1] for m in v.measures}.get(name)
            if found is None:
                undefined += 1
            elif truth <= FLOOR.get(name, 0.0):
                absolute.append(abs(found - truth))
            else:
                relative.append(100 * abs(found - truth) / truth)
        near = f"{len(absolute)}: {max(absolute):.3g}" if absolute else "-"
        lines.append(
            f"{name:<20}{np.median(relative):>14.2f} %{max(relative):>8.2f} %{len(relative):>5}{undefined:>11}  {near}"
        )
    return lines


if __name__ == "__main__":
    sys.exit(main())
