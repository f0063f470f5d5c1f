"""Pictures of dataset cases over HTTP."""

import io
from urllib.parse import quote

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.builders import COLORS, dataset_zip, rings


@pytest.fixture(scope="module")
def dataset(client: TestClient) -> str:
    masks = {name: rings(400, radii=(40 + 9 * n, 90, 150), center=200) for n, name in enumerate(("m0", "ä b?#%", "c"))}
    answer = client.post("/v1/datasets", files={"file": ("d.zip", dataset_zip(masks))})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


@pytest.fixture(scope="module")
def large(client: TestClient) -> str:
    masks = {f"m{n}": rings(2200, radii=(140 + 9 * n, 290, 450), center=1000) for n in range(2)}
    answer = client.post("/v1/datasets", files={"file": ("d.zip", dataset_zip(masks))})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def picture(client: TestClient, url: str) -> Image.Image:
    answer = client.get(url)
    assert answer.status_code == 200, answer.text
    assert "immutable" in answer.headers["cache-control"]
    again = client.get(url, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    return Image.open(io.BytesIO(answer.content))


def test_every_case_is_seen_by_name_and_by_hash(client: TestClient, dataset: str) -> None:
    for case in client.get(f"/v1/datasets/{dataset}").json()["cases"]:
        for name in (quote(case["case"]), quote(case["case"], safe=""), case["image_sha256"]):
            image = picture(client, f"/v1/datasets/{dataset}/cases/{name}/image.jpeg?px=100")
            mask = picture(client, f"/v1/datasets/{dataset}/cases/{name}/mask.png?px=100")
            assert (image.format, image.size, mask.format, mask.size) == ("JPEG", (100, 100), "PNG", (100, 100))


def test_a_mask_has_the_colours_of_its_classes_and_a_transparent_background(client: TestClient, dataset: str) -> None:
    mask = picture(client, f"/v1/datasets/{dataset}/cases/images/m0.png/mask.png?px=2048")
    assert mask.size == (400, 400)
    shown, truth = np.asarray(mask.convert("RGBA")), rings(400, radii=(40, 90, 150), center=200)
    classes = client.get(f"/v1/datasets/{dataset}").json()["classes"]
    for spec in classes:
        rgb = [int(spec["color"][at : at + 2], 16) for at in (1, 3, 5)]
        assert (shown[truth == spec["index"]] == [*rgb, 255 if spec["index"] else 0]).all()


def test_an_image_is_the_image(client: TestClient, dataset: str) -> None:
    image = picture(client, f"/v1/datasets/{dataset}/cases/images/m0.png/image.jpeg?px=400")
    truth = COLORS[rings(400, radii=(40, 90, 150), center=200)]
    assert np.abs(np.asarray(image).astype(int) - truth)[::7, ::7].mean() < 4


@pytest.mark.parametrize("px", [64, 192, 1000])
def test_a_section_is_seen_small_however_large_it_is(client: TestClient, large: str, px: int) -> None:
    """A tile of a slide that takes so many pixels of the file is refused; a case was decoded whole at import."""
    image = picture(client, f"/v1/datasets/{large}/cases/images/m0.png/image.jpeg?px={px}")
    truth = Image.fromarray(COLORS[rings(2200, radii=(140, 290, 450), center=1000)]).resize(
        (px, px), Image.Resampling.BOX
    )
    assert image.size == (px, px)
    assert np.abs(np.asarray(image).astype(int) - np.asarray(truth)).mean() < 4
    assert picture(client, f"/v1/datasets/{large}/cases/images/m0.png/mask.png?px={px}").size == (px, px)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("images/none.png/image.jpeg", 404),
        ("..%2F..%2Fetc%2Fpasswd/image.jpeg", 404),
        ("m0/mask.png", 404),
        ("images/m0.png/image.jpeg?px=100000", 422),
        ("images/m0.png/mask.png?px=0", 422),
        ("images/m0.png/mask.png?px=nan", 422),
        ("%00/mask.png", 404),
    ],
)
def test_what_is_not_there_is_said(client: TestClient, dataset: str, path: str, status: int) -> None:
    answer = client.get(f"/v1/datasets/{dataset}/cases/{path}")
    assert answer.status_code == status, answer.text
    assert answer.json()["code"] in {"case_not_found", "invalid"}


def test_cases_of_no_dataset_are_404(client: TestClient) -> None:
    assert client.get("/v1/datasets/dst_none/cases/a/mask.png").json()["code"] == "dataset_not_found"
