"""``make run``: start the local stack and do the main job over HTTP, on synthetic arteries.

Nine synthetic sections are benchmarked with two architectures, the verdict on the two is asked for, the published model
segments a section nobody has seen, and its measures stand beside the known truth.
"""

import csv
import io
import json
import sys
import time
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image
from scipy import stats

from intima.arrays import Json, LabelMask, RgbImage
from intima.errors import IntimaError
from intima.labels import ARTERY
from intima.phantom import NamedSpec, Phantom, PhantomTruth, draw_specs, phantom_cases, render
from services.local import LocalStack, Settings, running_stack, wait_for_interrupt

SUBJECTS = 9
SEED = 20
UNSEEN_SEED = 4711
SIZE_PX = 768
MPP = 1.0
MARGIN = 0.02
ARCHITECTURES = ("unet", "deeplabv3plus")
SPEC: Json = {
    "architectures": list(ARCHITECTURES),
    "protocols": [{"kind": "kfold", "k": 3}],
    "search": {"sampler": "gp", "trials": 2, "nested": True},
    "seeds": [0],
    "members": 2,
    "preset": "quick",
}
_BAR = 30


def main() -> int:
    """Run the demo; returns the exit status."""
    settings = Settings()
    say(f"Starting api, stats and runner (data in {settings.data.resolve()}) ...")
    try:
        with running_stack(settings) as stack, httpx.Client(base_url=stack.url, timeout=120.0) as client:
            say(f"  up at {stack.url}\n")
            run_main_job(client, stack)
            if sys.stdin.isatty():
                say(f"Serving at {stack.url}/ (its api: {stack.url}/docs). Ctrl-C stops.")
                wait_for_interrupt()
    except IntimaError as error:
        say(f"{error.message} {error.hint}")
        return 1
    except httpx.HTTPStatusError as error:
        error.response.read()
        say(f"{error.request.method} {error.request.url.path}: {error.response.status_code} {error.response.text}")
        return 1
    except KeyboardInterrupt:
        say("\nStopped.")
        return 130
    return 0


def run_main_job(client: httpx.Client, stack: LocalStack) -> None:
    """Benchmark, compare, segment, print."""
    started = time.monotonic()
    folder = stack.settings.data.resolve() / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    dataset = create_dataset(client)
    benchmark = run_benchmark(client, dataset)
    scores = client.get(f"/v1/benchmarks/{benchmark['id']}/scores.csv").raise_for_status().text
    (folder / "scores.csv").write_text(scores)
    verdict = compare(client, benchmark["id"])
    (folder / "verdict.json").write_text(json.dumps(verdict, indent=2))
    for form in ("html", "pdf"):
        document = client.get(f"/v1/benchmarks/{benchmark['id']}/report.{form}", params={"margin": MARGIN})
        (folder / f"benchmark.{form}").write_bytes(document.raise_for_status().content)
    phantom = unseen_phantom()
    segmentation = segment(client, phantom, model=benchmark["models"][0]["model"], folder=folder / "section")
    report(scores, verdict, segmentation, phantom.truth)
    say(f"\nFiles: {folder}")
    say("  benchmark.html, benchmark.pdf, verdict.json, scores.csv;")
    say("  section/ of the unseen one: report.pdf, overlay.png, annotations.geojson (QuPath), rois.zip (Fiji)")
    say("\nThe same in a browser:")
    section = f"{stack.url}/slides/{segmentation['slide']}?seg={segmentation['id']}"
    say(f"  {section}  the section, its mask, where the model doubts")
    say(f"  {stack.url}/benchmarks/{benchmark['id']}/results  the benchmark and what it can and cannot say")
    say(f"Everything above is from SYNTHETIC arteries. It took {time.monotonic() - started:.0f} s.")


def say(text: str) -> None:
    """Print at once."""
    print(text, flush=True)


def create_dataset(client: httpx.Client) -> str:
    """Render nine subjects and upload them."""
    say(f"1. Rendering {SUBJECTS} synthetic EVG artery sections, one per subject, {SIZE_PX} px at {MPP} µm/px ...")
    specs = draw_specs(seed=SEED, subjects=SUBJECTS, size_px=SIZE_PX, mpp=MPP)
    bundle = dataset_zip(specs, name="synthetic arteries")
    answer = client.post("/v1/datasets", files={"file": ("phantoms.zip", bundle)}).raise_for_status().json()
    say(f"   dataset {answer['id']}, {answer['cases']} cases, version {answer['version'][:12]}")
    return str(answer["id"])


def dataset_zip(specs: Sequence[NamedSpec], *, name: str) -> bytes:
    """Return phantoms as a dataset zip by the wire contract."""
    out = io.BytesIO()
    cases = []
    with zipfile.ZipFile(out, "w") as bundle:
        for named, phantom in phantom_cases(specs):
            stem = f"{named.subject}-{named.section}.png"
            bundle.writestr(f"images/{stem}", png(phantom.image))
            bundle.writestr(f"masks/{stem}", png(phantom.mask))
            cases.append(_case(named, stem))
        classes = [{"index": c.index, "name": c.name, "color": c.color} for c in ARTERY.classes]
        manifest = {"name": name, "licence": "Apache-2.0 (synthetic)", "classes": classes, "cases": cases}
        bundle.writestr("manifest.json", json.dumps(manifest))
    return out.getvalue()


def _case(named: NamedSpec, stem: str) -> Json:
    place = {"image": f"images/{stem}", "mask": f"masks/{stem}"}
    return place | {"subject": named.subject, "section": named.section, "mpp": named.spec.mpp}


def png(pixels: RgbImage | LabelMask) -> bytes:
    """Return an image or mask as PNG."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "png")
    return out.getvalue()


def run_benchmark(client: httpx.Client, dataset: str) -> dict[str, Any]:
    """Submit the benchmark and follow its events to the end."""
    body = SPEC | {"dataset": dataset}
    started = client.post("/v1/benchmarks", json=body).raise_for_status().json()
    names = " against ".join(ARCHITECTURES)
    say(f"2. Benchmark {started['id']}: {names}, 3 folds by subject, nested search, {started['units']} units")
    job = follow(client, started["job"])
    if job["state"] != "succeeded":
        raise IntimaError(f"The benchmark ended as {job['state']}: {job['error']}")
    view: dict[str, Any] = client.get(f"/v1/benchmarks/{started['id']}").raise_for_status().json()
    return view


def follow(client: httpx.Client, job_id: str) -> dict[str, Any]:
    """Show a job's progress from its event stream until it is final."""
    last: dict[str, Any] = {}
    with client.stream("GET", f"/v1/jobs/{job_id}/events", timeout=None) as stream:
        for kind, data in server_sent_events(stream.iter_lines()):
            if kind == "job":
                last = data
                show_progress(data)
    if sys.stdout.isatty():
        say("")
    return last


def server_sent_events(lines: Iterator[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (event, data) of a text/event-stream."""
    kind = "message"
    for line in lines:
        field, _, value = line.partition(": ")
        if field == "event":
            kind = value
        elif field == "data":
            yield kind, json.loads(value)


@dataclass(slots=True)
class _Shown:
    """What the last progress line said; without a terminal a line is printed per step only."""

    step: int = -1


_SHOWN = _Shown()


def show_progress(job: dict[str, Any]) -> None:
    """Draw a progress bar on a terminal, or print a line at every twelfth part."""
    done, total = job["progress"]["done"], max(1, job["progress"]["total"])
    eta_s = job["progress"]["eta_s"]
    left = "" if eta_s is None else f", about {eta_s:3.0f} s left"
    bar = "#" * (_BAR * done // total)
    text = f"   [{bar:<{_BAR}}] {done}/{total}  {job['running_s']:4.0f} s{left}"
    if sys.stdout.isatty():
        sys.stdout.write(f"\r{text}  {job['progress']['message'][:40]:<40}")
        sys.stdout.flush()
    elif 12 * done // total != _SHOWN.step:
        _SHOWN.step = 12 * done // total
        say(text)


def compare(client: httpx.Client, benchmark: str) -> dict[str, Any]:
    """Ask the stats service for the verdict."""
    a, b = ({"benchmark": benchmark, "architecture": name} for name in ARCHITECTURES)
    body = {"a": a, "b": b, "metric": "dice", "class": "macro", "margin": {"value": MARGIN, "basis": "stated"}}
    verdict: dict[str, Any] = client.post("/v1/comparisons", json=body).raise_for_status().json()
    return verdict


def unseen_phantom() -> Phantom:
    """Return a section of a subject that is not in the dataset."""
    return render(draw_specs(seed=UNSEEN_SEED, subjects=1, size_px=SIZE_PX, mpp=MPP)[0].spec)


def segment(client: httpx.Client, phantom: Phantom, *, model: str, folder: Path) -> dict[str, Any]:
    """Upload the unseen section, segment it with uncertainty, and save the artefacts."""
    say(f"3. Segmenting an unseen synthetic section with {model} (ensemble and test-time augmentation, 8 passes) ...")
    files = {"file": ("unseen-synthetic.png", png(phantom.image))}
    slide = client.post("/v1/slides", files=files, data={"mpp": str(MPP), "subject": "unseen"}).raise_for_status()
    path = f"/v1/slides/{slide.json()['id']}/segmentations"
    body = {"model": model, "uncertainty": {"sampler": "ensemble", "passes": 8}}
    started = client.post(path, json=body).raise_for_status().json()
    while True:
        view: dict[str, Any] = client.get(f"/v1/segmentations/{started['id']}").raise_for_status().json()
        if view["state"] in {"succeeded", "failed", "canceled"}:
            break
        time.sleep(0.3)
    if view["state"] != "succeeded":
        raise IntimaError(f"The segmentation ended as {view['state']}: {view['error']}")
    folder.mkdir(exist_ok=True)
    (folder / "slide.png").write_bytes(png(phantom.image))
    for artefact in view["artefacts"]:
        (folder / artefact["name"]).write_bytes(client.get(artefact["url"]).raise_for_status().content)
    return view


def report(scores: str, verdict: dict[str, Any], segmentation: dict[str, Any], truth: PhantomTruth) -> None:
    """Print scores, verdict and measures as one table."""
    say("\nScores: Dice at native resolution, mean over subjects, each held out once [95 % t interval]")
    for line in score_lines(scores):
        say(f"  {line}")
    say(f"\nVerdict: {verdict['verdict'].replace('_', ' ').upper()}")
    say(f"  {verdict['sentence']}")
    say("\nMeasures of the unseen section: measured [interval], truth, difference")
    say(f"  interval: {segmentation['result']['interval_basis']}")
    for line in measure_lines(segmentation["result"]["vessels"], truth):
        say(f"  {line}")


def score_lines(
    scores: str, *, models: Sequence[str] = ARCHITECTURES, classes: Sequence[str] = ARTERY.names[1:]
) -> Iterator[str]:
    """Yield the score table: macro and per-class Dice of each model."""
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in csv.DictReader(io.StringIO(scores)):
        if row["metric"] == "dice" and row["value"]:
            values[row["model"], row["class"]].append(float(row["value"]))
    columns = ("macro", *classes)
    yield f"{'model':<16}" + "".join(f"{c:>24}" for c in columns)
    for model in models:
        yield f"{model:<16}" + "".join(f"{_mean(values[model, c]):>24}" for c in columns)


def _mean(values: Sequence[float]) -> str:
    if len(values) < 2:
        return "n/a"
    low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
    return f"{np.mean(values):.3f} [{low:.3f}, {min(high, 1.0):.3f}]"


_TRUTHS = {
    "lumen_area": "lumen_um2",
    "neointimal_area": "neointima_um2",
    "medial_area": "media_um2",
    "intima_media_ratio": "intima_media_ratio",
    "stenosis": "stenosis_percent",
}


def measure_lines(vessels: Sequence[dict[str, Any]], truth: PhantomTruth) -> Iterator[str]:
    """Yield the measures of the largest vessel beside the truth."""
    if not vessels:
        yield "no vessel was found"
        return
    found = {m["name"]: m for m in vessels[0]["measures"]}
    for name, field in _TRUTHS.items():
        measure, exact = found[name], float(getattr(truth, field))
        if measure["value"] is None:
            yield f"{name:<20} undefined: {'; '.join(vessels[0]['warnings'])}"
            continue
        spread = measure["interval"]
        between = f"[{spread['low']:.4g}, {spread['high']:.4g}]" if spread else "(no interval)"
        off = 100 * (measure["value"] - exact) / exact if exact else float("nan")
        yield f"{name:<20}{measure['value']:>11.4g} {measure['unit']:<6} {between:<24} {exact:>11.4g} {off:>+7.1f} %"
    for warning in vessels[0]["warnings"]:
        yield f"note: {warning}"


if __name__ == "__main__":
    sys.exit(main())
