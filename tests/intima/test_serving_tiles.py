"""Tiles that slides are cut into."""

from importlib.resources import files

import numpy as np
import pytest
import torch

from intima.architectures import ARCHITECTURES, ENCODERS, complete_architecture, is_local
from intima.architectures.build import build_net
from intima.contracts.benchmark import ArchitectureWish
from intima.contracts.model import Cost, ModelCard
from intima.serving_tiles import serving_tiles


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_only_convolutions_are_local(name: str) -> None:
    spec = complete_architecture(ArchitectureWish(name=name))
    assert is_local(spec) == (name in {"unet", "unet_small", "unetplusplus", "linknet"})


@pytest.mark.parametrize("encoder", [*ENCODERS, "tu-convnext_tiny"])
def test_an_encoder_that_averages_over_the_tile_is_not_local(encoder: str) -> None:
    spec = complete_architecture(ArchitectureWish(name="unet", encoder=encoder))
    assert is_local(spec) == (encoder not in {"efficientnet-b0", "tu-convnext_tiny"})


@pytest.mark.parametrize(
    ("name", "encoder"),
    [
        *((name, None) for name in ("unet", "unet_small", "unetplusplus", "linknet", "fpn", "deeplabv3plus", "pspnet")),
        ("unet", "efficientnet-b0"),
        ("unet", "resnet34"),
        ("fpn", "mobilenet_v2"),
    ],
)
def test_local_nets_do_not_see_what_is_far_away(name: str, encoder: str | None) -> None:
    spec = complete_architecture(ArchitectureWish(name=name, encoder=encoder, weights="random"))
    net = build_net(spec, classes=4, parameters={}, seed=0).eval()
    strip = np.random.default_rng(0).random((1, 3, 32, 3072), np.float32)
    other = strip.copy()
    other[..., 3008:] = 1 - other[..., 3008:]
    with torch.inference_mode():
        first, second = (net(torch.from_numpy(tiles))[..., :64].numpy() for tiles in (strip, other))
    assert np.array_equal(first, second) == is_local(spec)


def card_of(name: str, *, cost: Cost | None, imported: bool = False, tile_px: int = 256) -> ModelCard:
    spec = complete_architecture(ArchitectureWish(name=name))
    known = ModelCard.model_validate_json(files("intima").joinpath("assets/default_model/card.json").read_bytes())
    changes = {"architecture": spec, "tile_px": tile_px, "halo_px": tile_px // 8, "cost": cost, "imported": imported}
    return known.model_copy(update=changes)


def cost(megabytes: int) -> Cost:
    return Cost(flops=1, peak_memory_bytes=megabytes * 2**20)


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        (card_of("unet", cost=cost(8)), (1088, 32, True)),
        (card_of("unet", cost=cost(15)), (832, 32, True)),
        (card_of("unet", cost=cost(60)), (256, 32, True)),
        (card_of("unet", cost=None), (256, 32, True)),
        (card_of("unet", cost=cost(100), tile_px=512), (512, 32, True)),
        (card_of("unet", cost=cost(8), imported=True), (256, 32, False)),
        (card_of("segformer", cost=cost(8)), (256, 32, False)),
        (card_of("deeplabv3plus", cost=cost(8), tile_px=512), (512, 64, False)),
    ],
)
def test_tiles_are_as_large_as_memory_allows_where_the_net_is_local(
    card: ModelCard, expected: tuple[int, int, bool]
) -> None:
    found = serving_tiles(card)
    assert (found.tile_px, found.halo_px, found.even) == expected
