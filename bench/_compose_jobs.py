"""What users do with the stack, over HTTP through nginx only; every step outlives a door that is away for a while."""

import hashlib
import json
import time
from collections.abc import Callable
from typing import Any

import httpx

from intima.phantom import draw_specs, render
from services.demo import dataset_zip, png, server_sent_events

FINAL = {"succeeded", "failed", "canceled"}
AWAY = {502, 503, 504}
VERDICTS = {"a_better", "b_better", "equivalent", "not_different", "inconclusive"}
ARCHITECTURES = ("unet", "deeplabv3plus")
BENCHMARK: dict[str, Any] = {
    "architectures": [
        {"name": name, "encoder": "resnet18", "weights": "random", "input_px": 64} for name in ARCHITECTURES
    ],
    "protocols": [{"kind": "kfold", "k": 3}],
    "search": {"sampler": "gp", "trials": 1},
    "members": 1,
    "preset": "quick",
}


def picture(seed: int, *, size_px: int, mpp: float) -> bytes:
    """Return a synthetic artery as PNG."""
    return png(render(draw_specs(seed=seed, subjects=1, size_px=size_px, mpp=mpp)[0].spec).image)


def ask(client: httpx.Client, method: str, path: str, *, patience_s: float = 300.0, **sent: Any) -> httpx.Response:
    """Send a request, again while the stack is away (no connection, 502, 503, 504); end at any other error."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            answer = client.request(method, path, **sent)
        except httpx.TransportError as error:
            if time.monotonic() > deadline:
                raise SystemExit(f"{method} {path}: {error!r}") from error
        else:
            if answer.status_code not in AWAY or time.monotonic() > deadline:
                if answer.is_error:
                    raise SystemExit(f"{method} {path}: {answer.status_code} {answer.text[:2000]}")
                return answer
        time.sleep(0.5)


def first_mask(client: httpx.Client) -> str:
    """Segment a small image in the request (J1); returns the hash of the mask."""
    files = {"file": ("artery.png", picture(1, size_px=512, mpp=1.0), "image/png")}
    answer = ask(client, "POST", "/v1/segment", files=files, data={"mpp": "1.0"}, headers={"accept": "image/png"})
    if not answer.content.startswith(b"\x89PNG"):
        raise SystemExit(f"no mask: {answer.headers}")
    return sha256(answer.content)


def start_segmentation(client: httpx.Client, *, seed: int) -> dict[str, Any]:
    """Upload a slide and start a segmentation of it (J2)."""
    files = {"file": (f"section-{seed}.png", picture(seed, size_px=1024, mpp=0.75), "image/png")}
    form = {"mpp": "0.75", "subject": f"mouse-{seed}"}
    slide = ask(client, "POST", "/v1/slides", files=files, data=form).json()
    body = {"model": "phantom-unet@shipped", "uncertainty": {"sampler": "tta", "passes": 4}}
    started: dict[str, Any] = ask(client, "POST", f"/v1/slides/{slide['id']}/segmentations", json=body).json()
    return started


def start_benchmark(client: httpx.Client, *, seed: int = 3, key: str = "first") -> dict[str, Any]:
    """Upload nine synthetic subjects and start a benchmark of two nets (J3); the same key starts it once."""
    bundle = dataset_zip(draw_specs(seed=seed, subjects=9, size_px=192, mpp=4.0), name=f"nine synthetic, seed {seed}")
    dataset = ask(client, "POST", "/v1/datasets", files={"file": ("nine.zip", bundle)}).json()
    body = BENCHMARK | {"dataset": dataset["id"]}
    started: dict[str, Any] = ask(client, "POST", "/v1/benchmarks", json=body, headers={"idempotency-key": key}).json()
    return started | {"dataset": dataset["id"]}


def follow(client: httpx.Client, job_id: str, *, patience_s: float = 1800.0) -> tuple[dict[str, Any], int, int]:
    """Follow a job by its events to its end, connecting again where they break off; returns job, events, tries."""
    deadline, seen, connections, last = time.monotonic() + patience_s, 0, 0, {"state": "unknown"}
    while last["state"] not in FINAL:
        if time.monotonic() > deadline:
            raise SystemExit(f"{job_id} is still {last}")
        connections += 1
        try:
            with client.stream("GET", f"/v1/jobs/{job_id}/events", timeout=30.0) as stream:
                for kind, data in server_sent_events(stream.iter_lines()) if stream.is_success else ():
                    seen += 1
                    last = data if kind == "job" else last
        except httpx.TransportError:
            pass
        if last["state"] not in FINAL:
            time.sleep(0.5)
    return last, seen, connections


def succeed(client: httpx.Client, job_id: str) -> tuple[int, int]:
    """Follow a job, which must succeed; returns events and connections."""
    job, events, connections = follow(client, job_id)
    if job["state"] != "succeeded":
        raise SystemExit(f"{job_id} ended as {job['state']}: {job.get('error')}")
    return events, connections


def publish(client: httpx.Client, benchmark: str) -> str:
    """Name the best model of a finished benchmark by an alias (J3); returns it as name@alias."""
    view = ask(client, "GET", f"/v1/benchmarks/{benchmark}").json()
    name, _, version = view["models"][0]["model"].partition("@")
    ask(client, "PUT", f"/v1/models/{name}/aliases/lab", json={"version": version})
    return f"{name}@lab"


def verdict(client: httpx.Client, benchmark: str) -> dict[str, Any]:
    """Ask whether the two nets differ (J4)."""
    a, b = ({"benchmark": benchmark, "architecture": name} for name in ARCHITECTURES)
    body = {"a": a, "b": b, "metric": "dice", "class": "macro", "margin": {"value": 0.02, "basis": "stated"}}
    found: dict[str, Any] = ask(client, "POST", "/v1/comparisons", json=body).json()
    return found


def snapshot(client: httpx.Client, *, segmentations: list[str], benchmarks: list[str]) -> dict[str, str]:
    """Return hashes of everything that must still be there tomorrow, by where it is."""
    found = {"measures": sha256(ask(client, "GET", "/v1/measures.csv").content)}
    for one in segmentations:
        view = ask(client, "GET", f"/v1/segmentations/{one}").json()
        for artefact in view["artefacts"]:
            found[artefact["url"]] = sha256(ask(client, "GET", artefact["url"]).content)
            if artefact.get("sha256", found[artefact["url"]]) != found[artefact["url"]]:
                raise SystemExit(f"{artefact['url']} is not what its hash says")
    for one in benchmarks:
        for path in (f"/v1/benchmarks/{one}/scores.csv", f"/v1/benchmarks/{one}/experiments.csv"):
            found[path] = sha256(ask(client, "GET", path).content)
    for path, list_of in (("/v1/models", model_names), ("/v1/slides", ids), ("/v1/datasets", ids), ("/v1/jobs", ids)):
        found[path] = sha256(json.dumps(list_of(ask(client, "GET", path, params={"page_size": 200}).json())).encode())
    for model in model_names(ask(client, "GET", "/v1/models").json()):
        name, _, version = model.partition("@")
        path = f"/v1/models/{name}/versions/{version}/package"
        found[path] = sha256(ask(client, "GET", path).content)
    return found


def ids(page: dict[str, Any]) -> list[str]:
    """Return the ids on a page."""
    return [one["id"] for one in page["items"]]


def model_names(page: dict[str, Any]) -> list[str]:
    """Return the models on a page as name@version."""
    return [f"{one['name']}@{one['version']}" for one in page["items"]]


def sha256(data: bytes) -> str:
    """Return a hash in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def wait_until(true: Callable[[], bool], *, patience_s: float, what: str) -> float:
    """Wait for something; returns seconds."""
    started = time.monotonic()
    while not true():
        if time.monotonic() - started > patience_s:
            raise SystemExit(f"{what} did not come true in {patience_s:.0f} s")
        time.sleep(0.25)
    return time.monotonic() - started
