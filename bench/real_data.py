"""Benchmarks on real sections, over HTTP on a local stack, and a real slide segmented by the model they publish.

``python -m bench.real_data skin`` (4 classes, 17 tiles of one section, 3 folds by tile, U-Net against DeepLabV3+, then
CMU-1-Small-Region.svs), ``python -m bench.real_data kidney`` (2 classes). Needs ../shared/data. The tiles of the skin
set come from one donor: folds by tile exercise the machinery and say nothing about new patients.
"""

import argparse
import io
import json
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from services.demo import compare, follow, png, say, score_lines
from services.local import Settings, running_stack

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
COLORS = ["#000000", "#d55e00", "#56b4e9", "#009e73", "#e69f00"]
SETS: dict[str, dict[str, Any]] = {
    "skin": {
        "folder": "skin-layers-pas",
        "merge": {0: 0, 1: 1, 2: 2, 3: 2, 4: 3},
        "names": ["background", "keratin", "epidermis", "dermis"],
        "licence": "none stated; for tests only",
    },
    "kidney": {
        "folder": "kidney-glomeruli-pas",
        "merge": {0: 0, 1: 1},
        "names": ["background", "glomerulus"],
        "licence": "CC BY 4.0",
    },
}


def dataset_zip(key: str) -> bytes:
    """Return a real set as a dataset zip: colour masks become class indices, each tile is its own subject."""
    known = SETS[key]
    folder = DATA / known["folder"]
    classes = json.loads((folder / "classes.json").read_text())["classes"]
    names = known["names"]
    out = io.BytesIO()
    cases = []
    with zipfile.ZipFile(out, "w") as bundle:
        for image in sorted((folder / "images").iterdir()):
            mask = indices(folder / "masks" / f"{image.stem}.png", classes, known["merge"])
            bundle.write(image, f"images/{image.name}")
            bundle.writestr(f"masks/{image.stem}.png", png(mask))
            case = {"image": f"images/{image.name}", "mask": f"masks/{image.stem}.png"}
            cases.append(case | {"subject": image.stem, "mpp": None})
        listed = [{"index": i, "name": n, "color": COLORS[i]} for i, n in enumerate(names)]
        manifest = {"name": f"{key} tiles", "licence": known["licence"], "classes": listed, "cases": cases}
        bundle.writestr("manifest.json", json.dumps(manifest))
    return out.getvalue()


def indices(path: Path, classes: list[dict[str, Any]], merge: dict[int, int]) -> np.ndarray:
    """Return the class indices of a colour mask. Raises ValueError for a colour that is no class."""
    rgb = np.asarray(Image.open(path).convert("RGB"))
    found = np.full(rgb.shape[:2], 255, np.uint8)
    for known in classes:
        found[(rgb == np.array(known["rgb"], np.uint8)).all(2)] = merge[known["index"]]
    if (found == 255).any():
        raise ValueError(f"{path.name} holds a colour that is no class")
    return found


def main() -> int:
    """Run one set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("set", choices=list(SETS))
    parser.add_argument("--trials", type=int, default=2)
    parser.add_argument("--preset", default="standard")
    parser.add_argument("--port", type=int, default=8600)
    parser.add_argument("--data", type=Path, default=None, help="keep everything in this folder")
    arguments = parser.parse_args()
    if not DATA.is_dir():
        sys.stderr.write("needs the folder ../shared/data\n")
        return 1
    with tempfile.TemporaryDirectory() as scratch:
        settings = Settings(data=arguments.data or Path(scratch), port=arguments.port)
        with running_stack(settings) as stack, httpx.Client(base_url=stack.url, timeout=300.0) as client:
            run(client, arguments)
    return 0


def run(client: httpx.Client, arguments: argparse.Namespace) -> None:
    """Benchmark one set and segment a slide."""
    names = SETS[arguments.set]["names"]
    architectures = ("unet", "deeplabv3plus") if arguments.set == "skin" else ("unet",)
    files = {"file": ("set.zip", dataset_zip(arguments.set))}
    dataset = client.post("/v1/datasets", files=files).raise_for_status().json()
    say(f"{dataset['cases']} cases, classes {', '.join(dataset['classes'])}; {'; '.join(dataset['warnings'])}")
    spec = {
        "dataset": dataset["id"],
        "architectures": list(architectures),
        "protocols": [{"kind": "kfold", "k": 3}],
        "search": {"trials": arguments.trials},
        "members": 2 if arguments.set == "skin" else 1,
        "preset": arguments.preset,
    }
    started = client.post("/v1/benchmarks", json=spec).raise_for_status().json()
    at = time.monotonic()
    job = follow(client, started["job"])
    say(f"benchmark: {job['state']} after {time.monotonic() - at:.0f} s")
    scores = client.get(f"/v1/benchmarks/{started['id']}/scores.csv").raise_for_status().text
    for line in score_lines(scores, models=architectures, classes=names[1:]):
        say(line)
    view = client.get(f"/v1/benchmarks/{started['id']}").json()
    if len(architectures) > 1:
        verdict = compare(client, started["id"])
        say(f"verdict: {verdict['verdict']}: {verdict['sentence']}")
        segment_slide(client, view["models"][0]["model"])


def segment_slide(client: httpx.Client, model: str) -> None:
    """Segment CMU-1-Small-Region.svs end to end and print what came out."""
    path = DATA / "wsi" / "svs" / "CMU-1-Small-Region.svs"
    slide = client.post("/v1/slides", files={"file": (path.name, path.read_bytes())}).raise_for_status().json()
    at = time.monotonic()
    body = {"model": model, "uncertainty": {"sampler": "ensemble", "passes": 8}}
    started = client.post(f"/v1/slides/{slide['id']}/segmentations", json=body).raise_for_status().json()
    follow(client, started["job"])
    view = client.get(f"/v1/segmentations/{started['id']}").raise_for_status().json()
    say(f"{path.name} {slide['width']} x {slide['height']}: {view['state']} in {time.monotonic() - at:.1f} s")
    for line in slide_lines(view):
        say(line)


def slide_lines(view: dict[str, Any]) -> Iterator[str]:
    """Yield timings, class areas, uncertainty and artefacts."""
    yield f"timings {view['timings']}"
    yield "areas " + ", ".join(f"{a['name']} {100 * a['fraction']:.1f} %" for a in view["result"]["areas"])
    yield f"uncertainty {view['result']['uncertainty']}"
    yield "artefacts " + ", ".join(f"{a['name']} {a['bytes'] / 1e3:.0f} kB" for a in view["artefacts"])


if __name__ == "__main__":
    sys.exit(main())
