"""What a browser has to fetch stays small, and is only ours."""

import gzip
import re

import pytest

from services.api.site import STATIC

KIB = 1024
FIRST_KIB, LARGEST_KIB, ALL_KIB = 40, 160, 420
"""Packed: what every page needs, the largest part, everything but /docs."""


@pytest.fixture(scope="module")
def packed() -> dict[str, int]:
    """Size of each script and style as it goes over the wire, by name; without those of /docs."""
    if not (STATIC / "index.html").is_file():
        pytest.skip("the viewer was not built: make web")
    files = [f for f in (STATIC / "assets").iterdir() if not f.name.startswith("docs-")]
    return {f.name: len(gzip.compress(f.read_bytes(), 6)) for f in files}


def test_the_first_page_needs_little(packed: dict[str, int]) -> None:
    first = re.findall(r'(?:src|href)="/assets/([^"]+)"', (STATIC / "index.html").read_text())
    assert len(first) >= 2
    assert sum(packed[name] for name in first) <= FIRST_KIB * KIB, {name: packed[name] for name in first}


def test_no_part_and_not_the_whole_is_large(packed: dict[str, int]) -> None:
    assert max(packed.values()) <= LARGEST_KIB * KIB, max(packed, key=lambda name: packed[name])
    assert sum(packed.values()) <= ALL_KIB * KIB


def test_the_pages_name_no_other_host_and_hold_no_script() -> None:
    if not (STATIC / "index.html").is_file():
        pytest.skip("the viewer was not built: make web")
    for name in ("index.html", "docs.html"):
        text = (STATIC / name).read_text()
        assert not re.search(r'(src|href)="(https?:)?//', text)
        assert not re.search(r"<script(?![^>]*\ssrc=)", text)
