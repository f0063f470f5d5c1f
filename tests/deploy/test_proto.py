"""proto/ by the real buf, offline: its style, and what clients of the last release would notice."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROTO = Path(__file__).resolve().parents[2] / "proto"
BUF = Path(sys.executable).parent / "buf"
BASELINE = PROTO / "baseline.txtpb"

if not BUF.exists():
    pytest.skip("no buf beside this Python (pip install buf-bin)", allow_module_level=True)


def buf(*arguments: str | Path, home: Path) -> subprocess.CompletedProcess[str]:
    """Run buf with an empty home: nothing it knows comes from elsewhere."""
    environment = {"HOME": str(home), "PATH": ""}
    return subprocess.run([BUF, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(PROTO, tmp_path / "proto"))


def change(folder: Path, name: str, before: str, after: str) -> None:
    path = folder / "v1" / name
    text = path.read_text()
    assert text.count(before) == 1, before
    path.write_text(text.replace(before, after))


def test_the_protocol_keeps_its_style_and_breaks_no_client(tmp_path: Path) -> None:
    for done in (buf("lint", PROTO, home=tmp_path), buf("breaking", PROTO, "--against", BASELINE, home=tmp_path)):
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("name", "before", "after", "said"),
    [
        ("comparison.proto", "rpc GetPlan(PlanRef) returns (Plan);", "", 'Previously present RPC "GetPlan"'),
        ("segmentation.proto", "  string media_type = 4;\n  // Of the REST", "  // Of the REST", '"4" with name'),
        ("segmentation.proto", "  int64 offset = 4;", "  int32 offset = 4;", 'changed type from "int64" to "int32"'),
        ("comparison.proto", 'optional double value = 1;\n  // "st', 'optional double value = 7;\n  // "st', '"1"'),
        # Foreign style is let pass; a foreign contract is kept.
        ("open_inference.proto", "bool live = 1;", "string live = 1;", 'changed type from "bool" to "string"'),
    ],
)
def test_a_change_that_breaks_clients_is_caught(
    tmp_path: Path, copy: Path, name: str, before: str, after: str, said: str
) -> None:
    change(copy, name, before, after)
    found = buf("breaking", copy, "--against", BASELINE, home=tmp_path)
    assert found.returncode != 0
    assert said in found.stdout


def test_what_is_added_breaks_nobody(tmp_path: Path, copy: Path) -> None:
    change(copy, "segmentation.proto", "  int64 offset = 4;", "  int64 offset = 4;\n  bool last = 99;")
    assert buf("breaking", copy, "--against", BASELINE, home=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("int64 offset = 4;", "int64 offSet = 4;", "lower_snake_case"),
        ("  // GET /v1/segmentations/{id}\n", "", "GetSegmentation"),
        ("service SegmentationService", "service Segmentations", "should be suffixed"),
    ],
)
def test_a_breach_of_style_is_caught(tmp_path: Path, copy: Path, before: str, after: str, said: str) -> None:
    change(copy, "segmentation.proto", before, after)
    found = buf("lint", copy, home=tmp_path)
    assert found.returncode != 0
    assert said in found.stdout


def test_the_baseline_holds_every_service(tmp_path: Path) -> None:
    text = BASELINE.read_text()
    for service in ("GRPCInferenceService", "SegmentationService", "Comparison"):
        assert f'service: {{\n    name: "{service}"' in text
