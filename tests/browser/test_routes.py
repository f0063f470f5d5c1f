"""Every page of the viewer opens on a filled stack, says nothing on the console and passes axe in both themes."""

import re
from pathlib import Path
from typing import Any

import pytest
from browsing import Theme, assert_accessible, visit
from playwright.sync_api import Page, expect

PAGES = Path(__file__).resolve().parents[2] / "web" / "src" / "pages"
ROUTES = sorted({p for f in PAGES.glob("*/routes.ts") for p in re.findall(r'path: "([^"]+)"', f.read_text())})
OF = {
    "/slides/:id": "/slides/{segmentation[slide]}?seg={segmentation[id]}",
    "/slides/:id/correct/:seg": "/slides/{segmentation[slide]}/correct/{segmentation[id]}",
    "/segment": "/segment?slides={slide[id]}",
    "/models/:name/:version": "/models/{model[name]}/{model[version]}",
    "/datasets/:id": "/datasets/{dataset[id]}",
    "/benchmarks/:id": "/benchmarks/{benchmark[id]}",
    "/benchmarks/:id/search": "/benchmarks/{benchmark[id]}/search",
    "/benchmarks/:id/results": "/benchmarks/{benchmark[id]}/results",
    "/jobs/:id": "/jobs/{benchmark[job]}",
}
"""What fills a route's path: the fixture and its field. A new route with a parameter needs a line here."""


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("route", ROUTES)
def test_it_opens_and_passes_axe(page: Page, request: pytest.FixtureRequest, route: str, theme: Theme) -> None:
    visit(page, _filled(route, request), theme=theme)
    expect(page.get_by_text("There is no such page")).to_have_count(0)
    expect(page.get_by_text("This page broke")).to_have_count(0)
    expect(page.locator(".notice.bad")).to_have_count(0)
    assert_accessible(page)


def _filled(route: str, request: pytest.FixtureRequest) -> str:
    path = OF.get(route, route)
    values: dict[str, Any] = {name: request.getfixturevalue(name) for name in re.findall(r"{(\w+)\[", path)}
    found = path.format(**values)
    assert "/:" not in found, f"{route} has a parameter: say in OF of {Path(__file__).name} what fills it"
    return found
