"""Number formats of a published net: close to torch or left out with the reason, the same bytes twice."""

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from intima.contracts.model import MemberFile
from intima.errors import Invalid
from intima.inference import load_onnx
from intima.training.cost import count_cost, time_predict
from intima.training.parity import compare_logits, worst_parity
from intima.training.quantize import quantize_net
from intima.training.variants import Samples, common_precisions, export_variants, join_variants
from intima.uncertainty import DropoutLayer, draw_masks

CLASSES = ("background", "lumen", "media")


class Nearest(nn.Module):
    """Two plain convolutions whose classes depend on brightness: easy to quantise."""

    def __init__(self, gain: float = 20.0) -> None:
        super().__init__()
        self.spread = nn.Conv2d(3, 64, 9, padding=4, padding_mode="replicate", bias=False)
        self.head = nn.Conv2d(64, 3, 1)
        with torch.no_grad():
            self.spread.weight.fill_(1 / (3 * 81))
            centres = torch.tensor([0.2, 0.5, 0.8])
            self.head.weight.copy_((gain * centres / 64)[:, None, None, None].expand(3, 64, 1, 1))
            self.head.bias.copy_(-gain * centres**2 / 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.spread(images))


def served(data: bytes):
    return load_onnx(data).predict


def tile(seed: int, side: int = 96) -> np.ndarray:
    """A tile of three grey fields."""
    rng = np.random.default_rng(seed)
    steps = np.array([0.2, 0.5, 0.8], np.float32)[np.minimum(2, 3 * np.arange(side) // side)]
    return np.clip(steps[None, None, None] + rng.normal(0, 0.02, (1, 3, side, side)), 0, 1).astype(np.float32)


SAMPLES = Samples(compare=[tile(0), tile(1)], calibrate=[tile(2), tile(3)], classes=CLASSES)


@pytest.fixture(scope="module")
def exported():
    return export_variants(Nearest(), samples=SAMPLES, load=served)


def test_all_formats_of_an_easy_net_are_published_and_small(exported):
    assert list(exported.files) == ["fp32", "fp16", "int8"]
    assert not exported.left_out
    assert len(exported.files["fp16"]) < 0.6 * len(exported.files["fp32"])
    assert len(exported.files["int8"]) < 0.5 * len(exported.files["fp32"])
    assert exported.parity["fp32"].max_abs < 1e-3
    assert 0 < exported.parity["fp16"].max_abs < 1e-2
    assert exported.parity["int8"].macro_dice >= 0.98
    assert exported.parity["int8"].argmax_agreement >= 0.99
    assert all(abs(change) < 0.05 for change in exported.parity["int8"].area_change.values())


def test_masks_of_dropout_work_in_every_format():
    net = Nearest()
    net.head = nn.Sequential(nn.Dropout2d(0.25), net.head)
    files = export_variants(net, samples=SAMPLES, load=served).files
    assert list(files) == ["fp32", "fp16", "int8"]
    drawn = {}
    for precision, data in files.items():
        found = load_onnx(data)
        assert found.dropout == (DropoutLayer("dropout.0", 64, 0.25),)
        masks = draw_masks(found.dropout, seed=3, member=0, draws=[1, 2])
        drawn[precision] = found.predict_drawn(tile(0), masks).reshape(2, 3, 96, 96)
        assert not np.array_equal(*drawn[precision])
    for precision in ("fp16", "int8"):
        assert np.mean(drawn[precision].argmax(1) == drawn["fp32"].argmax(1)) > 0.98


def test_int8_is_unsigned_activations_and_signed_weights_per_channel(exported):
    model = onnx.load_from_string(exported.files["int8"])
    onnx.checker.check_model(model, full_check=True)
    weights = {t.name: t for t in model.graph.initializer}
    kinds = {
        (n.op_type, weights[n.input[2]].data_type, len(weights[n.input[2]].dims))
        for n in model.graph.node
        if n.op_type in {"QuantizeLinear", "DequantizeLinear"} and n.input[2] in weights
    }
    assert ("QuantizeLinear", onnx.TensorProto.UINT8, 0) in kinds
    assert ("DequantizeLinear", onnx.TensorProto.INT8, 1) in kinds
    assert {o.domain for o in model.opset_import} == {""}
    assert model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT


def test_the_same_net_and_tiles_give_the_same_bytes(exported):
    again = export_variants(Nearest(), samples=SAMPLES, load=served)
    assert again.files == exported.files


def test_other_tiles_give_other_ranges(exported):
    one, two = (quantize_net(exported.files["fp32"], tiles=[tile(5) * scale]) for scale in (1.0, 0.3))
    assert one != two


def test_weights_leave_room_for_sums_in_16_bits(exported):
    """Every weight of this net is the largest of its channel; full 8 bits saturate on processors without VNNI."""
    model = onnx.load_from_string(exported.files["int8"])
    weights = [onnx.numpy_helper.to_array(t) for t in model.graph.initializer if len(t.dims) == 4]
    assert {w.dtype for w in weights} == {np.dtype(np.int8)}
    assert all(np.abs(w.astype(int)).max() <= 64 for w in weights)


def test_a_net_that_int8_spoils_is_left_out_with_the_figures():
    net = Nearest(gain=20.0)
    with torch.no_grad():
        net.spread.weight[0].mul_(1e5)
        net.head.weight[:, 0].mul_(1e-5)
    made = export_variants(net, samples=SAMPLES, load=served)
    assert "int8" not in made.files
    assert "need at least 0.99 and 0.98" in made.left_out["int8"]
    assert "fp32" in made.files


def test_a_weight_beyond_float16_leaves_fp16_out():
    net = Nearest()
    with torch.no_grad():
        net.spread.weight.mul_(1e8)
        net.head.weight.mul_(1e-8)
    assert "float16" in export_variants(net, samples=SAMPLES, load=served).left_out["fp16"]


def test_a_variant_needs_every_member(exported):
    lame = type(exported)(
        files={"fp32": b"1"}, parity={"fp32": exported.parity["fp32"]}, left_out={"int8": "why", "fp16": "why not"}
    )
    stored = {"fp32": [MemberFile(sha256="a" * 64, bytes=1), MemberFile(sha256="b" * 64, bytes=1)]}
    variants, left_out = join_variants([exported, lame], files=stored)
    assert common_precisions([exported, lame]) == ("fp32",)
    assert [v.precision for v in variants] == ["fp32"]
    assert {(left.precision, left.reason) for left in left_out} == {
        ("int8", "member 1: why"),
        ("fp16", "member 1: why not"),
    }


def test_parity_by_hand():
    one = np.zeros((1, 3, 1, 4), np.float32)
    two = np.zeros((1, 3, 1, 4), np.float32)
    for index, label in enumerate((0, 1, 1, 2)):
        one[0, label, 0, index] = 100
    for index, label in enumerate((0, 1, 2, 2)):
        two[0, label, 0, index] = 100
    parity = compare_logits([one], [two], classes=CLASSES)
    assert parity.argmax_agreement == 0.75
    assert parity.max_abs == pytest.approx(1.0)
    assert parity.mean_abs == pytest.approx(2 / 12)
    assert parity.macro_dice == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert parity.area_change == {"background": 0.0, "lumen": -0.5, "media": 1.0}
    worst = worst_parity([compare_logits([one], [one], classes=CLASSES), parity])
    assert worst == parity
    with pytest.raises(Invalid, match="at least one batch"):
        compare_logits([], [], classes=CLASSES)


@pytest.mark.parametrize("broken", [0, 1])
def test_a_net_without_numbers_on_any_one_tile_is_not_published(broken):
    """Python's max keeps the first value when a later one is NaN."""
    calls = iter(range(100))

    def lame(data):
        def predict(tiles):
            logits = served(data)(tiles)
            return logits * np.float32(np.nan) if next(calls) % 2 == broken else logits

        return predict

    with pytest.raises(Invalid, match="differ by 1 in probability") as caught:
        export_variants(Nearest(), samples=SAMPLES, load=lame)
    assert caught.value.code == "export_parity"


def test_a_variant_without_numbers_on_a_few_pixels_is_left_out():
    loads = iter(range(100))

    def lame_later(data):
        number = next(loads)

        def predict(tiles):
            logits = served(data)(tiles)
            logits[0, :, 0, 0] = np.nan if number >= 2 else logits[0, :, 0, 0]
            return logits

        return predict

    found = export_variants(Nearest(), samples=SAMPLES, load=lame_later)
    assert list(found.files) == ["fp32"]
    assert "not finite" in found.left_out["int8"]


def test_cost_counts_a_convolution_by_hand():
    cost = count_cost(nn.Conv2d(3, 8, 3, padding=1, bias=False), tile_px=64)
    assert cost.flops == 2 * 64 * 64 * 8 * 3 * 9
    assert cost.peak_memory_bytes == 4 * (8 * 3 * 9) + 4 * 8 * 64 * 64
    deep = nn.Sequential(*[nn.Conv2d(3, 3, 1, bias=False) for _ in range(10)])
    assert count_cost(deep, tile_px=64).peak_memory_bytes < 4 * (90 + 3 * 3 * 64 * 64 + 1)


def test_latency_is_a_median_on_one_thread():
    calls = []
    latency = time_predict(lambda batch: calls.append(batch.shape) or batch, precision="fp32", tile_px=64)
    assert calls == [(1, 3, 64, 64)] * (latency.runs + 1)
    assert latency.median_ms >= 0
    assert latency.threads == 1
