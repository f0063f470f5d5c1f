"""Every path of the viewer, as its pages say it, and what fills the parameters."""

import re
from pathlib import Path
from typing import Any

import pytest

_PAGES = Path(__file__).resolve().parents[2] / "web" / "src" / "pages"
ROUTES = sorted({p for f in _PAGES.glob("*/routes.ts") for p in re.findall(r'path: "([^"]+)"', f.read_text())})
OF = {
    "/slides/:id": "/slides/{segmentation[slide]}?seg={segmentation[id]}",
    "/slides/:id/correct/:seg": "/slides/{segmentation[slide]}/correct/{segmentation[id]}",
    "/segment": "/segment?slides={slide[id]}",
    "/models/:name/:version": "/models/{model[name]}/{model[version]}",
    "/datasets/:id": "/datasets/{dataset[id]}",
    "/benchmarks/:id": "/benchmarks/{benchmark[id]}",
    "/benchmarks/:id/search": "/benchmarks/{benchmark[id]}/search",
    "/benchmarks/:id/results": "/benchmarks/{benchmark[id]}/results",
    "/plans/:id": "/plans/{plan[id]}",
    "/jobs/:id": "/jobs/{benchmark[job]}",
}
"""The fixture and its field. A new route with a parameter needs a line here."""


def filled(route: str, request: pytest.FixtureRequest) -> str:
    """Return the path of a route on the stack of the tests."""
    path = OF.get(route, route)
    values: dict[str, Any] = {name: request.getfixturevalue(name) for name in re.findall(r"{(\w+)\[", path)}
    found = path.format(**values)
    assert "/:" not in found, f"{route} has a parameter: say in OF of {Path(__file__).name} what fills it"
    return found
