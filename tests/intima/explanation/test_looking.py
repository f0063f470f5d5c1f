"""Attention and saliency of toy nets whose answer is known."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from intima.architectures import complete_architecture
from intima.architectures.build import build_net
from intima.architectures.net import SegmentationNet
from intima.borders import Scale, boundary_distance
from intima.contracts.benchmark import ArchitectureSpec, ArchitectureWish
from intima.explanation.attention import observe_attention
from intima.explanation.case import CaseView, explain_attention, explain_saliency
from intima.explanation.crop import Crop
from intima.explanation.gradcam import grad_cam
from intima.explanation.saliency import integrated_gradients
from intima.geometry import Size
from intima.labels import ARTERY
from intima.resampling import resample_planes
from tests.builders import COLORS, rings

# isort: split
from segment_anything.modeling import ImageEncoderViT


class Features(nn.Module):
    """Three channels of an image, of the left half only where asked."""

    def __init__(self, *, half: bool) -> None:
        super().__init__()
        self.half = half
        self.mix = nn.Conv2d(3, 3, 1, bias=False)
        nn.init.eye_(self.mix.weight[:, :, 0, 0])

    def forward(self, images: Tensor) -> list[Tensor]:
        seen = images.clone()
        if self.half:
            seen[..., images.shape[-1] // 2 :] = 0
        return [self.mix(seen).relu()]


class Last(nn.Module):
    def forward(self, features: list[Tensor]) -> Tensor:
        return features[-1]


class Body(nn.Module):
    """The mean of the features everywhere: class 1 rises with the first channel."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.segmentation_head = nn.Conv2d(3, 2, 1, bias=False)
        with torch.no_grad():
            self.segmentation_head.weight.zero_()
            self.segmentation_head.weight[1, 0] = 2.0
        self.register_buffer("centre", torch.zeros(1, 3, 1, 1))
        self.register_buffer("spread", torch.ones(1, 3, 1, 1))


def net_of(encoder: nn.Module, decoder: nn.Module | None = None) -> SegmentationNet:
    return SegmentationNet(Body(encoder, decoder or Last())).eval()


def test_grad_cam_is_zero_on_the_half_the_net_does_not_see():
    cam = grad_cam(net_of(Features(half=True)), torch.full((1, 3, 32, 64), 0.7), classes=2)[1]
    assert cam.shape == (32, 64)
    assert cam[:, :32].min() > 0
    assert not cam[:, 32:].any()


def test_a_class_that_is_predicted_nowhere_has_no_grad_cam():
    assert grad_cam(net_of(Features(half=False)), torch.zeros(1, 3, 32, 32), classes=2) == {}


def test_integrated_gradients_of_a_linear_net_are_exact():
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) + 0.01
    found = integrated_gradients(net_of(Features(half=False)), image, classes=2, steps=2)[1]
    assert found.gap is not None
    assert found.gap < 1e-5
    expected = 2.0 * (image[0, 0] - 1.0).numpy() / image[0, 0].numel()
    assert np.allclose(found.pixels, expected, atol=1e-7)


def test_integrated_gradients_are_complete_on_a_real_net():
    net = build_net(ArchitectureSpec(name="unet_small", weights="random"), classes=2, parameters={}, seed=0).eval()
    with torch.no_grad():
        net.body.segmentation_head[1][0].bias[1] = 1.0
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    found = integrated_gradients(net, image, classes=2, steps=32)[1]
    assert found.attributed == pytest.approx(found.expected, rel=0.1)
    assert found.gap == pytest.approx(abs(found.attributed / found.expected - 1))


class TokenAttention(nn.Module):
    """Attention over patches of 16 px that looks at one token; ``fused`` by the fused function."""

    def __init__(self, *, at: int | None, fused: bool = False, windows: int = 1) -> None:
        super().__init__()
        self.at, self.fused, self.windows = at, fused, windows

    def forward(self, tokens: Tensor) -> Tensor:
        count = tokens.shape[1] // self.windows
        heads = tokens.reshape(self.windows, 1, count, tokens.shape[2])
        keys = torch.zeros_like(heads)
        if self.at is not None:
            keys[..., self.at, :] = 100.0
        queries = torch.ones_like(heads)
        if self.fused:
            mixed = functional.scaled_dot_product_attention(queries, keys, heads)
        else:
            mixed = torch.softmax(queries @ keys.transpose(-2, -1) / math.sqrt(3), dim=-1) @ heads
        return mixed.reshape(tokens.shape)


class Transformer(nn.Module):
    def __init__(self, *layers: TokenAttention) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, images: Tensor) -> list[Tensor]:
        grid = functional.avg_pool2d(images, 16)
        tokens = grid.flatten(2).transpose(1, 2)
        for layer in self.layers:
            tokens = layer(tokens)
        features = tokens.transpose(1, 2).reshape(grid.shape)
        return [functional.interpolate(features, size=images.shape[-2:])]


@pytest.mark.parametrize("fused", [False, True])
def test_rollout_follows_what_every_layer_looks_at(fused):
    net = net_of(Transformer(TokenAttention(at=5, fused=fused), TokenAttention(at=5, fused=fused)))
    seen = observe_attention(net, torch.rand(1, 3, 64, 64))
    assert list(seen.per_layer) == ["body.encoder.layers.0", "body.encoder.layers.1"]
    assert np.allclose(seen.per_layer["body.encoder.layers.0"], np.eye(16)[5].reshape(4, 4))
    assert seen.rollout is not None
    assert seen.rollout[1, 1] == pytest.approx(0.75 + 0.25 / 16)
    assert seen.rollout.sum() == pytest.approx(1.0)


def test_even_attention_rolls_out_evenly():
    seen = observe_attention(net_of(Transformer(TokenAttention(at=None))), torch.rand(1, 3, 32, 64))
    assert np.allclose(seen.rollout, 1 / 8)


def test_attention_within_windows_is_counted_and_not_drawn():
    seen = observe_attention(net_of(Transformer(TokenAttention(at=0, windows=4))), torch.rand(1, 3, 64, 64))
    assert (seen.rollout, seen.per_layer, seen.windowed) == (None, {}, 1)


@pytest.mark.parametrize("px", [448, 512])
def test_sam_whose_windows_look_like_a_grid_of_the_image_has_maps_of_its_global_layers_only(px):
    """At 448 px a window of 14 x 14 patches has as many tokens as the image has patches of 32 px."""
    net = SegmentationNet(Body(SmallSam(px), Last()), fixed_px=px).eval()
    seen = observe_attention(net, torch.rand(1, 3, px, px))
    assert (seen.rollout, seen.windowed) == (None, 2)
    assert list(seen.per_layer) == ["body.encoder.vit.blocks.2.attn"]
    layer, maps, _ = explain_attention(artery_view(96), net)
    assert layer.method == "attention_per_layer"
    assert layer.source == "layer 3 of 3 of the encoder"
    assert layer.encoder_maps == ("body.encoder.vit.blocks.2.attn",)
    assert layer.notes == (
        "2 of 3 layers attend within windows and have no map of the image; a rollout would need every layer.",
    )
    assert [m.title for m in maps] == ["Attention, layer 3 of 3"]


def test_sam_without_windows_is_rolled_out_over_every_layer():
    net = SegmentationNet(Body(SmallSam(224), Last()), fixed_px=224).eval()
    layer, maps, _ = explain_attention(artery_view(96), net)
    assert (layer.method, layer.source, layer.notes) == ("attention_rollout", "all 3 layers of the encoder", ())
    assert [m.title for m in maps] == ["Attention rollout"]


class SmallSam(nn.Module):
    """SAM's own encoder with three narrow blocks of two heads: two windowed, one global."""

    def __init__(self, px: int) -> None:
        super().__init__()
        self.vit = ImageEncoderViT(
            img_size=px,
            embed_dim=8,
            depth=3,
            num_heads=2,
            out_chans=3,
            use_rel_pos=True,
            window_size=14,
            global_attn_indexes=(2,),
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        return [functional.interpolate(self.vit(images), size=images.shape[-2:])]


class PromptedDecoder(nn.Module):
    """Two prompt tokens that look at the first and the last token of the image."""

    def __init__(self) -> None:
        super().__init__()
        self.prompts = CrossAttention()

    def forward(self, features: list[Tensor]) -> Tensor:
        grid = functional.avg_pool2d(features[-1], 8)
        return features[-1] + 0 * self.prompts(grid.flatten(2).transpose(1, 2)).mean()


class CrossAttention(nn.Module):
    def forward(self, tokens: Tensor) -> Tensor:
        scores = torch.zeros(1, 1, 2, tokens.shape[1])
        scores[..., 0, 0] = scores[..., 1, -1] = 100.0
        return torch.softmax(scores, dim=-1) @ tokens[:, None]


def test_prompt_tokens_have_a_map_each_beside_grad_cam():
    net = net_of(Features(half=False), PromptedDecoder())
    seen = observe_attention(net, torch.rand(1, 3, 128, 128))
    assert [int(m.argmax()) for m in seen.tokens] == [0, 255]
    assert seen.tokens[0].shape == (16, 16)
    layer, _, tokens = explain_attention(artery_view(128), net)
    assert (layer.method, layer.class_tokens, layer.prompt_tokens) == ("grad_cam", (), 2)
    assert [m.title for m in tokens] == ["Prompt token 1 of 2", "Prompt token 2 of 2"]


def test_the_queries_of_a_prompted_net_are_its_classes_and_then_its_prompts():
    wish = ArchitectureWish.model_validate({"name": "litemedsam", "weights": "random", "input_px": 64})
    net = build_net(complete_architecture(wish), classes=4, parameters={"prompt_tokens": 8}, seed=0).eval()
    view = artery_view(64)
    rows = decoder_attention(net, view.crop.tile_of(view.image))
    layer, _, tokens = explain_attention(view, net)
    assert layer.class_tokens == ("background", "lumen", "neointima", "media")
    assert layer.prompt_tokens == 8
    classes = [("Class token: lumen", 1), ("Class token: neointima", 2), ("Class token: media", 3)]
    prompts = [(f"Prompt token {n} of 8", None) for n in range(1, 9)]
    assert [(m.title, m.class_index) for m in tokens] == [*classes, *prompts, ("Class token: background", None)]
    for shown, row in zip(tokens, [*rows[1:], rows[0]], strict=True):
        expected = resample_planes(row.reshape(1, 16, 16), Size(64, 64))[0]
        assert np.allclose(shown.values, expected / expected.max(), atol=1e-5)


def decoder_attention(net: SegmentationNet, tile: Tensor) -> np.ndarray:
    """What the queries take from the image, (queries, 256): mean over heads and layers, worked out by hand."""
    layers = [m for n, m in net.decoder.named_modules() if "token_to_image" in n.rpartition(".")[2]]
    seen: list[Tensor] = []

    def keep(module: nn.Module, args: tuple, given: dict) -> None:
        q, k = (module._separate_heads(p(given[n]), 8) for n, p in (("q", module.q_proj), ("k", module.k_proj)))
        seen.append(torch.softmax(q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1]), -1)[0].mean(0))

    hooks = [m.register_forward_pre_hook(keep, with_kwargs=True) for m in layers]
    with torch.no_grad():
        net(tile)
    for hook in hooks:
        hook.remove()
    assert len(seen) == 3
    return torch.stack(seen).mean(0).numpy()


def artery_view(size: int) -> CaseView:
    truth = rings(size, radii=(size // 8, size // 5, size // 4), center=size // 2)
    scale = Scale.of(2.0, band_um=5.0, band_px=3.0)
    return CaseView(
        image=COLORS[truth],
        truth=truth,
        predicted=truth,
        distance=boundary_distance(truth, pixel=2.0),
        scale=scale,
        schema=ARTERY,
        crop=Crop.around(truth > 0, working=Size(size, size), tile_px=256),
    )


@pytest.mark.parametrize("training", ["full", "frozen"])
def test_a_convolutional_net_is_explained_by_grad_cam_and_saliency(training):
    spec = ArchitectureSpec(name="unet_small", weights="random", encoder_training=training)
    net = build_net(spec, classes=4, parameters={}, seed=1).eval()
    with torch.no_grad():
        net.body.segmentation_head[1][0].bias[2] = 5.0
    view = artery_view(96)
    layer, maps, _ = explain_attention(view, net)
    assert layer.method == "grad_cam"
    assert [c.class_name for c in layer.classes] == ["lumen", "neointima", "media"]
    assert all(m.values.shape == (96, 96) and np.nanmax(m.values) <= 1.0 for m in maps)
    saliency, shown = explain_saliency(view, net, steps=2)
    assert [c.class_name for c in saliency.classes] == ["lumen", "neointima"]
    assert all(c.attributed != 0 and 0 < c.on_class < 1 for c in saliency.classes)
    assert [m.class_index for m in shown] == [1, 2]
