"""The viewer on a real local stack, in a real browser.

``stack`` is one for the whole test run (all processes): do not count what is on it, name what you make.
``page`` fails the test on a console error, an uncaught error, a request to another host or an answer 5xx;
``watch.allow(pattern)`` says what the test brings about itself.
"""

import io
import os
from collections.abc import Iterator
from typing import Any

import pytest
from browsing import Watch, chromium, find_chromium, watched_page
from local_stack import Stack, shared_stack
from PIL import Image
from playwright.sync_api import Browser, Page

from intima.phantom import draw_specs, render
from services.api.site import STATIC
from services.demo import dataset_zip, png

SPEC: dict[str, Any] = {
    "architectures": [
        {"name": "unet", "encoder": "resnet18", "weights": "random", "input_px": 64},
        {"name": "deeplabv3plus", "encoder": "resnet18", "weights": "random", "input_px": 64},
    ],
    "protocols": [{"kind": "kfold", "k": 2}],
    "search": {"sampler": "random", "trials": 2, "space": {"batch": {"choices": [2]}}},
    "members": 1,
    "preset": "quick",
    "publish": False,
}
"""A benchmark of 13 units that ends in half a minute on two free cores."""


@pytest.fixture(scope="session")
def what_it_takes() -> None:
    """Skip where there is no viewer, or no browser."""
    if not (STATIC / "index.html").is_file():
        pytest.skip("the viewer was not built: make web")
    find_chromium()


@pytest.fixture(scope="module")
def browser(what_it_takes: None) -> Iterator[Browser]:
    """A browser for one file: Playwright's loop must not run while other files have loops of their own."""
    with chromium() as found:
        yield found


@pytest.fixture(scope="session")
def stack(
    what_it_takes: None, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """The local stack: api, stats and the runner. A benchmark that will be asked for runs from the start."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "browser"
    folder.mkdir(exist_ok=True)
    with shared_stack(folder) as found:
        if any("benchmark" in getattr(item, "fixturenames", ()) for item in request.session.items):
            _started_benchmark(found)
        yield found


@pytest.fixture
def watch(stack: Stack) -> Watch:
    return Watch(stack.url)


@pytest.fixture
def page(browser: Browser, stack: Stack, watch: Watch) -> Iterator[Page]:
    """A page of its own at 1366 x 768; open paths with ``browsing.visit``."""
    with watched_page(browser, stack.url, watch) as found:
        yield found


def section(seed: int, *, px: int = 256, mpp: float = 3.0) -> bytes:
    """Return a synthetic section as PNG."""
    return png(render(draw_specs(seed=seed, subjects=1, size_px=px, mpp=mpp)[0].spec).image)


@pytest.fixture(scope="session")
def slide(stack: Stack) -> dict[str, Any]:
    """A synthetic section with its pixel size, as GET /v1/slides/{id} shows it."""
    return stack.once("slide", lambda: stack.upload_slide("synthetic-a.png", section(31), mpp="3.0", subject="S1"))


@pytest.fixture(scope="session")
def slide_without_mpp(stack: Stack) -> dict[str, Any]:
    """A flat grey PNG without a pixel size."""
    out = io.BytesIO()
    Image.new("RGB", (320, 240), (214, 205, 211)).save(out, "png")
    return stack.once("flat", lambda: stack.upload_slide("flat.png", out.getvalue()))


@pytest.fixture(scope="session")
def model(stack: Stack) -> dict[str, Any]:
    """The default model, as GET /v1/models shows it."""
    return stack.once("model", lambda: stack.get("/v1/models")["items"][-1])


@pytest.fixture(scope="session")
def segmentation(stack: Stack, slide: dict[str, Any], model: dict[str, Any]) -> dict[str, Any]:
    """A finished segmentation of ``slide`` with uncertainty, by the default model."""
    return stack.once("segmentation", lambda: _segmented(stack, slide, model))


def _segmented(stack: Stack, slide: dict[str, Any], model: dict[str, Any]) -> Any:
    body = {
        "model": f"{model['name']}@{model['version']}",
        "uncertainty": {"sampler": "tta", "passes": 4},
    }
    started = stack.post(f"/v1/slides/{slide['id']}/segmentations", body)
    stack.finished(started["job"])
    return stack.get(f"/v1/segmentations/{started['id']}")


@pytest.fixture(scope="session")
def dataset(stack: Stack) -> dict[str, Any]:
    """Four synthetic subjects with masks, as GET /v1/datasets/{id} shows them."""
    return stack.once("dataset", lambda: _dataset(stack))


def _dataset(stack: Stack) -> Any:
    bundle = dataset_zip(draw_specs(seed=3, subjects=4, size_px=128, mpp=6.0), name="synthetic arteries")
    return stack.get(f"/v1/datasets/{stack.upload_dataset(bundle)['id']}")


@pytest.fixture(scope="session")
def benchmark(stack: Stack) -> dict[str, Any]:
    """A finished benchmark of two architectures on ``dataset``, as GET /v1/benchmarks/{id} shows it."""
    return stack.once("benchmark", lambda: _benchmark(stack))


def _benchmark(stack: Stack) -> Any:
    started = _started_benchmark(stack)
    stack.finished(started["job"])
    return stack.get(f"/v1/benchmarks/{started['id']}")


def _started_benchmark(stack: Stack) -> Any:
    of = stack.once("dataset", lambda: _dataset(stack))
    return stack.once("started", lambda: stack.post("/v1/benchmarks", SPEC | {"dataset": of["id"]}))


@pytest.fixture(scope="session")
def plan(stack: Stack) -> dict[str, Any]:
    """A locked plan, as POST /v1/plans answers."""
    return stack.once("plan", lambda: stack.post("/v1/plans", {"margin": {"value": 0.02}, "title": "of the tests"}))
