"""Published networks run as they were checked."""

from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import get_available_providers

from intima import providers
from intima.contracts.model import ProviderName
from intima.errors import Invalid, Unavailable
from intima.inference import load_onnx
from intima.providers import Device
from intima.uncertainty import DropoutLayer, draw_masks
from tests.builders import color_net


def test_a_file_is_read_as_onnx_whatever_mark_it_has():
    """ONNX Runtime takes bytes with ORTM at 4 to 8 for its own format, which the gate does not read."""
    tiles = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
    both = load_onnx(b"\x08\x08\x12\x04ORTM" + color_net())
    np.testing.assert_array_equal(both.predict(tiles), load_onnx(color_net()).predict(tiles))


def with_mask(*, rate: str | None = "0.5", used: bool = True) -> bytes:
    """The colour net with a mask over the channels of the image; one that is not ``used`` meets a factor of zero."""
    model = onnx.load_from_string(color_net())
    (conv,) = model.graph.node
    conv.input[0] = "masked"
    nodes = [helper.make_node("Mul", ["tiles", "dropout.0"], ["masked"])]
    if not used:
        zero = numpy_helper.from_array(np.zeros((1, 3, 1, 1), np.float32), "zero")
        model.graph.initializer.append(zero)
        nodes = [
            helper.make_node("Mul", ["dropout.0", "zero"], ["nothing"]),
            helper.make_node("Add", ["tiles", "nothing"], ["masked"]),
        ]
    model.graph.node.extend([*nodes, conv])
    del model.graph.node[0]
    model.graph.initializer.append(numpy_helper.from_array(np.ones((1, 3, 1, 1), np.float32), "dropout.0"))
    model.graph.input.append(helper.make_tensor_value_info("dropout.0", TensorProto.FLOAT, ["draws", 3, 1, 1]))
    if rate is not None:
        helper.set_model_props(model, {"dropout_rate": rate})
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def test_masks_may_be_left_out():
    tiles = np.random.default_rng(0).random((2, 3, 64, 64), np.float32)
    net = load_onnx(with_mask())
    assert net.dropout == (DropoutLayer("dropout.0", 3, 0.5),)
    np.testing.assert_array_equal(net.predict(tiles), load_onnx(color_net()).predict(tiles))
    red_off = {"dropout.0": np.float32([0, 1, 1]).reshape(1, 3, 1, 1)}
    np.testing.assert_allclose(
        net.predict_drawn(tiles, red_off), net.predict(tiles * np.float32([0, 1, 1])[:, None, None]), atol=1e-5
    )


def test_masks_that_change_nothing_are_a_dead_dropout_and_refused():
    with pytest.raises(Invalid, match="change nothing, or"):
        load_onnx(with_mask(used=False))


@pytest.mark.parametrize("cut", ["Slice", "Add"])
def test_a_net_that_does_not_answer_every_mask_is_refused(cut):
    """Two maps for any number of masks would be taken for as many passes as were asked for."""
    model = onnx.load_from_string(with_mask())
    values = {"from": np.array([0]), "to": np.array([2]), "two": np.zeros((2, 3, 1, 1), np.float32)}
    model.graph.initializer.extend(numpy_helper.from_array(v, n) for n, v in values.items())
    if cut == "Slice":
        model.graph.node[-1].output[0] = "all"
        model.graph.node.append(helper.make_node("Slice", ["all", "from", "to"], ["logits"]))
    else:
        model.graph.node[0].input[1] = "sum"
        model.graph.node.insert(0, helper.make_node("Add", ["dropout.0", "two"], ["sum"]))
    with pytest.raises(Invalid):
        load_onnx(bytes(model.SerializeToString()))


@pytest.mark.parametrize("rate", [None, "", "1.0", "0", "nan", "often"])
def test_masks_without_a_rate_are_refused(rate):
    with pytest.raises(Invalid, match="a rate between 0 and 1"):
        load_onnx(with_mask(rate=rate))


def test_draws_of_a_seed_are_the_same_bits_in_many_threads_and_in_any_portions(monkeypatch):
    member = files("intima").joinpath("assets/default_model/member-0.onnx").read_bytes()
    net, tiles = load_onnx(member), np.random.default_rng(0).random((2, 3, 128, 96), np.float32)

    def drawn(seed: int) -> bytes:
        return net.predict_drawn(tiles, draw_masks(net.dropout, seed=seed, member=0, draws=range(1, 7))).tobytes()

    alone = [drawn(seed) for seed in range(3)]
    assert len(set(alone)) == 3
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(drawn, [0, 1, 2] * 4)) == alone * 4
    monkeypatch.setattr("intima.inference._MOST_DRAWN_PX", 2 * 128 * 96)
    assert drawn(1) == alone[1]


@pytest.mark.parametrize("provider", ["cuda", "tensorrt", "openvino"])
def test_a_provider_that_is_not_there_is_an_error_unless_the_cpu_may_stand_in(provider: ProviderName) -> None:
    name = {"cuda": "CUDA", "tensorrt": "Tensorrt", "openvino": "OpenVINO"}[provider] + "ExecutionProvider"
    if name in get_available_providers():
        pytest.skip(f"{name} is installed here")
    with pytest.raises(Unavailable, match=name) as caught:
        load_onnx(color_net(), device=Device(provider))
    assert caught.value.code == "provider_unavailable"
    assert "cpu" in caught.value.hint
    net = load_onnx(color_net(), device=Device(provider, fallback=True))
    assert net.provider == "CPUExecutionProvider"


def test_engines_of_two_files_lie_apart(tmp_path: Path) -> None:
    """TensorRT names them by the graph, which members of an ensemble share."""
    device = Device("tensorrt", engines=tmp_path)
    folders = [
        providers._providers(device, data, threads=1)[0][1]["trt_engine_cache_path"] for data in (b"a", b"b", b"a")
    ]
    assert folders[0] == folders[2] != folders[1]
    assert all(Path(folder).is_dir() for folder in folders)
