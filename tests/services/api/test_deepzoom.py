"""Deep Zoom over HTTP: a viewer gets every tile, nothing outside, and bad slides harm nobody."""

import io
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import tifffile
from fastapi.testclient import TestClient
from PIL import Image

from intima.deepzoom import DeepZoom
from intima.formats.layers import slide_tile
from intima.geometry import Size
from intima.labels import ARTERY
from intima.resampling import resample_image
from tests.builders import COLORS, png, rings

IMAGE = COLORS[rings(600, radii=(100, 160, 220), center=300)][:520]
SLIDE_ZOOM = DeepZoom(Size(600, 520), tile_px=254, overlap_px=1)


@pytest.fixture(scope="module")
def slide(client: TestClient) -> str:
    answer = client.post("/v1/slides", files={"file": ("a.png", png(IMAGE))}, data={"mpp": "2.0"})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


@pytest.fixture(scope="module")
def segmentation(client: TestClient, model: str) -> dict[str, Any]:
    form = {"mpp": "2.0", "model": model}
    answer = client.post("/v1/segment", files={"file": ("a.png", png(IMAGE))}, data=form)
    assert answer.status_code == 200, answer.text
    view: dict[str, Any] = answer.json()
    return view


def descriptor(client: TestClient, url: str) -> tuple[DeepZoom, str]:
    """The pyramid that a descriptor announces, and the extension of its tiles."""
    answer = client.get(url)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/xml")
    root = ET.fromstring(answer.text)
    size = Size(int(root[0].attrib["Width"]), int(root[0].attrib["Height"]))
    zoom = DeepZoom(size, tile_px=int(root.attrib["TileSize"]), overlap_px=int(root.attrib["Overlap"]))
    return zoom, root.attrib["Format"]


def test_every_tile_of_every_level_of_a_slide_is_there(client: TestClient, slide: str) -> None:
    zoom, form = descriptor(client, f"/v1/slides/{slide}/deepzoom.dzi")
    assert (zoom, form) == (SLIDE_ZOOM, "jpeg")
    for level in range(zoom.last_level + 1):
        size = zoom.level_size(level)
        expected = resample_image(IMAGE, size)
        columns, rows = zoom.tiles(level)
        for column in range(columns):
            for row in range(rows):
                answer = client.get(f"/v1/slides/{slide}/deepzoom_files/{level}/{column}_{row}.jpeg")
                assert answer.status_code == 200, answer.text
                assert answer.headers["content-type"] == "image/jpeg"
                assert "immutable" in answer.headers["cache-control"]
                tile = np.asarray(Image.open(io.BytesIO(answer.content)), np.int16)
                region = zoom.region(level, column, row)
                part = expected[region.y : region.y + region.height, region.x : region.x + region.width]
                assert tile.shape == part.shape
                packed = np.asarray(Image.open(io.BytesIO(slide_tile(np.ascontiguousarray(part)))), np.int16)
                assert np.abs(tile - packed).max() <= 2
                assert min(tile.shape[:2]) < 64 or np.abs(tile - part).mean() < 6


def test_mask_tiles_are_the_mask_with_a_transparent_background(
    client: TestClient, segmentation: dict[str, Any]
) -> None:
    base = f"/v1/segmentations/{segmentation['id']}/layers/mask"
    zoom, form = descriptor(client, f"{base}.dzi")
    assert (zoom.size, form) == (Size(600, 520), "png")
    files = {a["name"]: a for a in segmentation["artefacts"]}
    mask = np.asarray(Image.open(io.BytesIO(client.get(files["mask.png"]["url"]).content)))
    colors = np.array([(0, 0, 0, 0), *((*c.rgb, 255) for c in ARTERY.foreground)], np.uint8)
    columns, rows = zoom.tiles(zoom.last_level)
    for column in range(columns):
        for row in range(rows):
            answer = client.get(f"{base}_files/{zoom.last_level}/{column}_{row}.png")
            assert answer.headers["content-type"] == "image/png"
            region = zoom.region(zoom.last_level, column, row)
            part = mask[region.y : region.y + region.height, region.x : region.x + region.width]
            assert np.array_equal(np.asarray(Image.open(io.BytesIO(answer.content))), colors[part])


@pytest.mark.parametrize("layer", ["entropy", "disagreement"])
def test_maps_are_layers_too(client: TestClient, segmentation: dict[str, Any], layer: str) -> None:
    base = f"/v1/segmentations/{segmentation['id']}/layers/{layer}"
    zoom, _ = descriptor(client, f"{base}.dzi")
    known = segmentation["provenance"]
    assert zoom.size == Size(known["working_width"], known["working_height"])
    tile = client.get(f"{base}_files/{zoom.last_level}/0_0.png")
    assert Image.open(io.BytesIO(tile.content)).mode == "RGBA"


def test_a_pinned_layer_may_be_cached_for_good_and_another_is_asked_for_again(
    client: TestClient, segmentation: dict[str, Any]
) -> None:
    sha256 = next(a["sha256"] for a in segmentation["artefacts"] if a["name"] == "mask.ome.tiff")
    base = f"/v1/segmentations/{segmentation['id']}/layers/mask"
    for url in (f"{base}.dzi", f"{base}_files/8/0_0.png"):
        pinned = client.get(url, params={"sha256": sha256})
        assert "immutable" in pinned.headers["cache-control"]
        assert sha256 in pinned.headers["etag"]
        bare = client.get(url)
        assert bare.headers["cache-control"] == "private, no-cache"
        assert bare.content == pinned.content
        assert client.get(url, params={"sha256": "0" * 64}).json()["code"] == "layer_changed"
        assert client.get(url, params={"sha256": "x"}).status_code == 422
    tile = f"{base}_files/8/0_0.png"
    etag = client.get(tile).headers["etag"]
    again = client.get(tile, headers={"If-None-Match": f'"x", W/{etag}'})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get(f"{base}_files/9/0_0.png", headers={"If-None-Match": etag}).status_code == 200


OUTSIDE = [
    "11/0_0", "10/3_0", "10/0_3", "10/-1_0", "-1/0_0", "x/0_0", "10/0", "10/0_0_0", "10/_", "10/٣_0", "10/1e3_0",
    f"{'9' * 6000}/0_0", f"10/{'9' * 6000}_0", "10/%00_0", "10/ 1_0", "10/+1_0", "10/1.0_0",
]  # fmt: skip


@pytest.mark.parametrize("place", OUTSIDE)
def test_outside_there_is_a_problem_and_no_defect(
    client: TestClient, slide: str, segmentation: dict[str, Any], place: str
) -> None:
    for url in (
        f"/v1/slides/{slide}/deepzoom_files/{place}.jpeg",
        f"/v1/segmentations/{segmentation['id']}/layers/mask_files/{place}.png",
    ):
        answer = client.get(url)
        assert answer.status_code == 404, (url[:80], answer.text[:200])
        assert answer.headers["content-type"] == "application/problem+json"


def test_what_does_not_exist_is_not_found(client: TestClient, slide: str, segmentation: dict[str, Any]) -> None:
    for url in (
        "/v1/slides/sld_none/deepzoom.dzi",
        "/v1/slides/sld_none/deepzoom_files/0/0_0.jpeg",
        "/v1/segmentations/seg_none/layers/mask.dzi",
        "/v1/segmentations/seg_none/layers/mask_files/0/0_0.png",
        f"/v1/segmentations/{segmentation['id']}/layers/overlay.dzi",
        f"/v1/segmentations/{segmentation['id']}/layers/..%2Fmask.dzi",
        f"/v1/segmentations/{segmentation['id']}/layers/nothing_files/0/0_0.png",
        f"/v1/slides/{slide}/deepzoom_files/0/0_0.png",
    ):
        assert client.get(url).status_code == 404, url


def test_without_uncertainty_there_is_no_map(client: TestClient, model: str) -> None:
    form = {"mpp": "2.0", "model": model, "uncertainty": "none"}
    view = client.post("/v1/segment", files={"file": ("b.png", png(IMAGE))}, data=form).json()
    answer = client.get(f"/v1/segmentations/{view['id']}/layers/entropy.dzi")
    assert answer.status_code == 404
    assert client.get(f"/v1/segmentations/{view['id']}/layers/mask.dzi").status_code == 200


def test_without_a_result_it_is_a_conflict(client: TestClient, model: str, slide: str) -> None:
    body = json.dumps({"model": model, "uncertainty": {"seed": 77, "sampler": "tta"}})
    started = client.post(
        f"/v1/slides/{slide}/segmentations", content=body, headers={"content-type": "application/json"}
    ).json()
    answer = client.get(f"/v1/segmentations/{started['id']}/layers/mask_files/0/0_0.png")
    assert (answer.status_code, answer.json()["code"]) == (409, "not_ready")


def test_a_slide_with_a_damaged_tile_costs_itself_only(client: TestClient, slide: str) -> None:
    out = io.BytesIO()
    pixels = np.random.default_rng(3).integers(0, 256, (768, 768, 3), dtype=np.uint8)
    tifffile.imwrite(out, pixels, tile=(256, 256), compression="zlib", photometric="rgb")
    with tifffile.TiffFile(io.BytesIO(out.getvalue())) as file:
        offset, count = file.pages[0].dataoffsets[8], file.pages[0].databytecounts[8]
    data = bytearray(out.getvalue())
    data[offset : offset + count] = b"\xff" * count
    stored = client.post("/v1/slides", files={"file": ("bad.tif", bytes(data))})
    assert stored.status_code == 201, stored.text
    base = f"/v1/slides/{stored.json()['id']}/deepzoom_files/10"
    urls = [f"{base}/2_2.jpeg", f"{base}/0_0.jpeg", f"/v1/slides/{slide}/deepzoom_files/10/1_1.jpeg"] * 6
    with ThreadPoolExecutor(6) as pool:
        codes = list(pool.map(lambda url: client.get(url).status_code, urls))
    assert codes == [422, 200, 200] * 6
    assert client.get(urls[0]).json()["code"] == "unreadable_image"
    assert client.get("/livez").status_code == 200


def test_a_large_slide_without_levels_has_every_tile(client: TestClient) -> None:
    out, side = io.BytesIO(), 5000
    pixels = np.asarray(Image.fromarray(IMAGE).resize((side, side), Image.Resampling.NEAREST))
    tifffile.imwrite(out, pixels, tile=(256, 256), compression="zlib", photometric="rgb")
    stored = client.post("/v1/slides", files={"file": ("flat.tif", out.getvalue())})
    assert stored.status_code == 201, stored.text
    base, zoom = (
        f"/v1/slides/{stored.json()['id']}/deepzoom_files",
        DeepZoom(Size(side, side), tile_px=254, overlap_px=1),
    )
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda level: client.get(f"{base}/{level}/0_0.jpeg"), range(zoom.last_level + 1)))
    assert [answer.status_code for answer in answers] == [200] * (zoom.last_level + 1)
    whole = np.asarray(Image.open(io.BytesIO(answers[7].content)), np.int16)
    assert whole.shape[:2] == (zoom.level_size(7).height, zoom.level_size(7).width)
    assert np.abs(whole - resample_image(pixels, zoom.level_size(7))).mean() < 6
    etag = answers[7].headers["etag"]
    assert client.get(f"{base}/7/0_0.jpeg", headers={"If-None-Match": etag}).status_code == 304
    again = client.get(f"{base}/7/0_0.jpeg")
    assert (again.content, again.headers["etag"]) == (answers[7].content, etag)
