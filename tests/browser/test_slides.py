"""The slides page: files of every kind come in, stop, go on, are named and go; all of it by keyboard too."""

import hashlib
import re
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
import tifffile
from browsing import Watch, assert_accessible, settle, visit
from local_stack import Stack
from playwright.sync_api import Locator, Page, Route, expect

from intima.phantom import draw_specs, render
from services.demo import png

SLOW = 3_000_000
"""Bytes a second at which a large file takes some seconds."""


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TIFF of noise that is too large for one request; not the same twice, so that nothing was sent of it before."""
    path = tmp_path_factory.mktemp("large") / f"large-{time.time_ns()}.tif"
    noise = np.random.default_rng(time.time_ns()).integers(0, 255, (3000, 3000, 3), dtype=np.uint8)
    tifffile.imwrite(path, noise, tile=(256, 256))
    return path


def section(seed: int, *, px: int = 256) -> bytes:
    return png(render(draw_specs(seed=seed, subjects=1, size_px=px, mpp=3.0)[0].spec).image)


def choose(page: Page, *files: Path) -> None:
    page.get_by_label("Slide files").set_input_files(list(files))


def row(page: Page, name: str) -> Locator:
    return page.get_by_role("list", name="Files").get_by_role("listitem").filter(has_text=name)


def slow(page: Page, bytes_per_s: int) -> None:
    limits = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": bytes_per_s}
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    session.send("Network.emulateNetworkConditions", limits)


def found(stack: Stack, name: str) -> list[dict[str, object]]:
    items: list[dict[str, object]] = stack.get(f"/v1/slides?search={name}")["items"]
    return items


def test_a_file_is_dropped_and_asked_for_its_pixel_size(page: Page, stack: Stack) -> None:
    name = f"dropped-{time.time_ns()}.png"
    data = section(71)
    visit(page, "/slides")
    page.get_by_label("Subject", exact=True).fill("Rat 71")
    page.evaluate(
        """([name, bytes]) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], name));
            const zone = document.querySelector(".drop-zone");
            for (const type of ["dragover", "drop"])
                zone.dispatchEvent(new DragEvent(type, {bubbles: true, cancelable: true, dataTransfer: data}));
        }""",
        [name, list(data)],
    )
    expect(row(page, name)).to_contain_text("stored", timeout=60_000)
    [slide] = found(stack, name)
    assert (slide["sha256"], slide["subject"], slide["mpp"]) == (hashlib.sha256(data).hexdigest(), "Rat 71", None)
    size = page.get_by_label(f"{name}: µm per pixel")
    assert size.input_value() == "", "nothing is guessed"
    assert_accessible(page)
    size.fill("0,0001")
    page.get_by_role("button", name="Save pixel size").click()
    expect(page.get_by_text("must be between")).to_be_visible()
    size.fill("3,0")
    expect(page.get_by_text("0.768 mm × 0.768 mm")).to_be_visible()
    page.get_by_role("button", name="Save pixel size").click()
    expect(size).to_have_count(0)
    [slide] = found(stack, name)
    assert (slide["mpp"], slide["mpp_from"]) == (3.0, "you")
    line = page.get_by_role("row").filter(has_text=name)
    expect(line).to_contain_text("given by hand")
    expect(line.locator("img")).to_be_visible()


def test_a_large_file_stops_goes_on_and_survives_a_reload(page: Page, stack: Stack, large: Path) -> None:
    asked: list[tuple[str, str | None]] = []
    page.on(
        "request", lambda r: asked.append((r.method, r.headers.get("upload-offset"))) if "/uploads/" in r.url else 0
    )
    page.on("dialog", lambda dialog: dialog.accept())
    visit(page, "/slides")
    slow(page, SLOW)
    choose(page, large)
    line = row(page, large.name)
    expect(line.get_by_role("progressbar")).to_have_attribute("aria-valuetext", re.compile(r"^\d\d\s%, being sent"))
    line.get_by_role("button", name=f"Pause {large.name}").click()
    expect(line).to_contain_text("paused")
    line.get_by_role("button", name=f"Go on with {large.name}").click()
    expect(line).to_contain_text("being sent")
    page.wait_for_timeout(1200)
    line.get_by_role("button", name=f"Pause {large.name}").click()
    page.reload()
    settle(page)
    expect(page.get_by_text("Not finished earlier")).to_be_visible()
    expect(page.get_by_text(re.compile(r"are there; choose the same file again"))).to_be_visible()
    assert_accessible(page)
    slow(page, -1)
    asked.clear()
    choose(page, large)
    expect(row(page, large.name)).to_contain_text("stored", timeout=90_000)
    assert "HEAD" in {method for method, _ in asked}
    [begin] = [int(offset or 0) for method, offset in asked if method == "PATCH"]
    assert 0 < begin < large.stat().st_size, "what was there is not sent again"
    [slide] = found(stack, large.name)
    assert slide["sha256"] == hashlib.sha256(large.read_bytes()).hexdigest()
    row(page, large.name).get_by_text("Arrived as it was sent").click()
    expect(row(page, large.name)).to_contain_text(str(slide["sha256"]))
    assert [u for u in stack.get("/v1/uploads")["items"] if u["name"] == large.name and u["state"] != "stored"] == []


def test_a_canceled_upload_leaves_nothing_on_the_server(page: Page, stack: Stack, tmp_path: Path) -> None:
    file = tmp_path / f"canceled-{time.time_ns()}.tif"
    file.write_bytes(np.random.default_rng(5).bytes(30_000_000))
    visit(page, "/slides")
    slow(page, SLOW)
    choose(page, file)
    expect(row(page, file.name)).to_contain_text("being sent")
    page.wait_for_timeout(1000)
    row(page, file.name).get_by_role("button", name=f"Cancel {file.name}").click()
    expect(row(page, file.name)).to_have_count(0)
    deadline = time.monotonic() + 10
    while [u for u in stack.get("/v1/uploads")["items"] if u["name"] == file.name]:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_files_that_are_no_slides_say_what_to_do_and_spare_the_others(
    page: Page, stack: Stack, watch: Watch, tmp_path: Path
) -> None:
    watch.allow("status of 422")
    good = tmp_path / f"good-{time.time_ns()}.png"
    good.write_bytes(section(72))
    broken, empty, index = tmp_path / "broken.svs", tmp_path / "empty.tif", tmp_path / "case.mrxs"
    broken.write_bytes(b"not a slide")
    empty.write_bytes(b"")
    index.write_bytes(b"x")
    visit(page, "/slides")
    choose(page, broken, empty, index, good)
    expect(row(page, broken.name).get_by_role("alert")).to_contain_text("What to do: Send SVS")
    expect(row(page, broken.name).get_by_role("alert")).to_contain_text("req_")
    expect(row(page, empty.name)).to_contain_text("0 bytes")
    expect(row(page, index.name)).to_contain_text("Zip the .mrxs file together with its folder")
    expect(row(page, good.name)).to_contain_text("stored", timeout=60_000)
    assert_accessible(page)
    for file in (broken, empty, index):
        row(page, file.name).get_by_role("button", name=f"Remove {file.name}").click()
        expect(row(page, file.name)).to_have_count(0)
    assert len(found(stack, good.name)) == 1


def test_a_server_that_goes_away_is_waited_for(
    page: Page, watch: Watch, stack: Stack, large: Path, tmp_path: Path
) -> None:
    watch.allow("ERR_FAILED|Failed to load resource")
    file = tmp_path / f"cut-{time.time_ns()}.tif"
    file.write_bytes(large.read_bytes())
    visit(page, "/slides")
    slow(page, SLOW)
    cut = {"left": 2}

    def maybe(route: Route) -> None:
        if route.request.method == "PATCH" and cut["left"]:
            cut["left"] -= 1
            route.abort()
        else:
            route.continue_()

    page.route("**/v1/uploads/*", maybe)
    choose(page, file)
    expect(row(page, file.name)).to_contain_text("stored", timeout=90_000)
    assert cut["left"] == 0
    [slide] = found(stack, file.name)
    assert slide["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()


def test_the_same_pixel_size_goes_to_all_that_lack_one(page: Page, stack: Stack, tmp_path: Path) -> None:
    mark = str(time.time_ns())
    files = [tmp_path / f"{mark}-{n}.png" for n in range(3)]
    for n, file in enumerate(files):
        file.write_bytes(section(80 + n, px=128))
    visit(page, "/slides")
    choose(page, *files)
    expect(page.get_by_text("3 slides state no pixel size")).to_be_visible(timeout=60_000)
    page.get_by_text("Work it out from a scale bar").click()
    page.get_by_label("The bar stands for, µm").fill("100")
    page.get_by_label("and is long, pixels").fill("400")
    expect(page.get_by_text("0.25 µm per pixel")).to_be_visible()
    page.get_by_label("The same for all, µm per pixel").fill("0.25")
    page.get_by_role("button", name="Fill in below").click()
    page.get_by_label(f"{files[1].name}: µm per pixel").fill("0.5")
    page.get_by_role("button", name="Save 3 pixel sizes").click()
    expect(page.get_by_text("no pixel size")).to_have_count(0)
    sizes = {s["name"]: s["mpp"] for s in found(stack, mark)}
    assert sizes == {files[0].name: 0.25, files[1].name: 0.5, files[2].name: 0.25}


def test_slides_are_found_chosen_and_deleted(page: Page, stack: Stack) -> None:
    mark = str(time.time_ns())
    made = [
        stack.upload_slide(f"{mark}-{n}.png", section(90, px=128), mpp="2", subject=f"S{mark}{n}") for n in range(2)
    ]
    visit(page, "/slides")
    page.get_by_label("Find by name or subject").fill(f"s{mark}1")
    expect(page.get_by_role("row").filter(has_text=".png")).to_have_count(1)
    assert f"search=s{mark}1" in page.url
    page.get_by_label("Find by name or subject").fill(mark)
    expect(page.get_by_role("row").filter(has_text=".png")).to_have_count(2)
    page.get_by_label("All on this page").check()
    link = page.get_by_role("link", name="Segment 2 slides")
    assert {s["id"] for s in made} == set(str(link.get_attribute("href")).partition("=")[2].split(","))
    page.get_by_role("button", name=f"Delete {mark}-0.png").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("cannot be undone")
    assert_accessible(page, within="dialog[open]")
    dialog.get_by_role("button", name="Keep it").click()
    assert len(found(stack, mark)) == 2
    page.get_by_role("button", name=f"Delete {mark}-0.png").click()
    dialog.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("row").filter(has_text=".png")).to_have_count(1)
    assert [s["name"] for s in found(stack, mark)] == [f"{mark}-1.png"]
    expect(page.get_by_role("link", name="Segment 1 slide")).to_be_visible()


def test_all_of_it_goes_by_keyboard(page: Page, stack: Stack, tmp_path: Path) -> None:
    file = tmp_path / f"keys-{time.time_ns()}.png"
    file.write_bytes(section(95, px=128))
    page.on("filechooser", lambda _: None)  # so that Chromium gives choosers to the test before the first is opened
    visit(page, "/slides")

    def tab_to(name: str) -> None:
        passed = []
        for _ in range(120):
            page.keyboard.press("Tab")
            said = page.evaluate(
                "() => { const e = document.activeElement; return e === document.body ? '' :"
                " e.getAttribute('aria-label') ?? e.labels?.[0]?.innerText ?? e.innerText; }"
            )
            if (said or "").startswith(name):
                return
            passed.append(said)
        raise AssertionError(f"no Tab reaches {name}, only {passed}")

    tab_to("Subject")
    page.keyboard.type("Keys")
    expect(page.get_by_label("Subject", exact=True)).to_have_value("Keys")
    tab_to("Choose files")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(file)
    expect(row(page, file.name)).to_contain_text("stored", timeout=60_000)
    tab_to(f"{file.name}: µm per pixel")
    page.keyboard.type("0.5")
    page.keyboard.press("Enter")
    expect(page.get_by_role("row").filter(has_text=file.name)).to_contain_text("given by hand")
    tab_to(f"Choose {file.name}")
    page.keyboard.press("Space")
    expect(page.get_by_role("link", name="Segment 1 slide")).to_be_visible()
    tab_to(f"Delete {file.name}")
    page.keyboard.press("Enter")
    tab_to("Delete")
    page.keyboard.press("Enter")
    expect(page.get_by_role("row").filter(has_text=file.name)).to_have_count(0)
    assert found(stack, file.name) == []


def test_batches_are_listed_with_what_became_of_them(page: Page, stack: Stack, model: dict[str, str]) -> None:
    mark = str(time.time_ns())
    slides = [stack.upload_slide(f"{mark}-{n}.png", section(97, px=128), mpp="3", subject=f"{n}") for n in range(2)]
    wish = {"model": f"{model['name']}@{model['version']}"}
    batch = stack.post("/v1/batches", {"slides": [*(s["id"] for s in slides), "sld_none"], "segmentation": wish})
    visit(page, "/slides?view=batches")
    line = page.get_by_role("row").filter(has=page.locator(f"a[href='/segment?batch={batch['id']}']"))
    expect(line).to_contain_text("3 slides")
    expect(line).to_contain_text("2 succeeded, 1 refused", timeout=120_000)
    expect(line).to_contain_text("incomplete")
    assert_accessible(page)
    with page.expect_response(lambda r: r.url.endswith(f"/v1/batches/{batch['id']}/retry")) as answer:
        line.get_by_role("button", name="Do what failed again").click()
    assert answer.value.status == httpx.codes.ACCEPTED
    visit(page, f"/slides?search={mark}")
    expect(page.get_by_role("row").filter(has_text="succeeded")).to_have_count(2)
