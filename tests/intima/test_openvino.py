"""Networks on OpenVINO: the same masks as on the CPU of ONNX Runtime, and never another provider in silence.

Run with an interpreter that has onnxruntime-openvino in place of onnxruntime (docs/providers.md).
"""

import json
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from intima import providers
from intima.architectures import complete_architecture
from intima.architectures.build import build_net
from intima.contracts.benchmark import ArchitectureWish
from intima.errors import Invalid, Unavailable
from intima.inference import OnnxNet, load_model, load_onnx
from intima.phantom import draw_specs, render
from intima.providers import Device
from intima.registry import publish_default
from intima.store.storage import open_storage
from intima.tiling import to_tile_batch
from intima.training.export import halve_weights, to_onnx
from intima.training.quantize import quantize_net
from intima.uncertainty import draw_masks
from tests.builders import color_net

NAME = "OpenVINOExecutionProvider"
OPENVINO = Device("openvino")
SHIPPED = files("intima").joinpath("assets/default_model/member-0.onnx").read_bytes()
needed = pytest.mark.skipif(
    NAME not in onnxruntime.get_available_providers(), reason="this ONNX Runtime is not onnxruntime-openvino"
)


@cache
def crop(px: int = 256, *, seed: int = 5) -> NDArray[np.float32]:
    """The middle of a SYNTHETIC section."""
    image = render(draw_specs(seed=seed, subjects=1, size_px=768, mpp=1.5)[0].spec).image
    top = (768 - px) // 2
    return to_tile_batch([image[top : top + px, top : top + px]])


def untrained(name: str, encoder: str) -> bytes:
    spec = complete_architecture(ArchitectureWish(name=name, encoder=encoder, weights="random"))
    return to_onnx(build_net(spec, classes=4, parameters={"dropout": 0.1}, seed=0))


NETS = {
    "shipped": lambda: SHIPPED,
    "shipped, half weights": lambda: halve_weights(SHIPPED),
    "segformer": lambda: untrained("segformer", "mit_b0"),
    "unet": lambda: untrained("unet", "resnet34"),
}


@needed
@pytest.mark.parametrize("name", NETS)
def test_a_net_on_openvino_gives_what_it_gives_on_the_cpu(name: str) -> None:
    data = NETS[name]()
    cpu, found = load_onnx(data), load_onnx(data, device=OPENVINO)
    assert (found.provider, found.classes, found.dropout) == (NAME, cpu.classes, cpu.dropout)
    for px in (256, 200):
        expected, logits = cpu.predict(crop(px)), found.predict(crop(px))
        np.testing.assert_allclose(logits, expected, atol=2e-5 * max(1, float(np.abs(expected).max())))
        assert float((logits.argmax(1) == expected.argmax(1)).mean()) > 0.9999
    masks = draw_masks(cpu.dropout, seed=1, member=0, draws=range(1, 9))
    drawn = cpu.predict_drawn(crop(), masks)
    np.testing.assert_allclose(
        found.predict_drawn(crop(), masks), drawn, atol=2e-5 * max(1, float(np.abs(drawn).max()))
    )


@needed
def test_int8_on_openvino_gives_the_same_mask_but_for_near_ties() -> None:
    """Both add whole numbers, but round scales in other places."""
    data = quantize_net(SHIPPED, tiles=[crop(seed=6), crop(seed=7)])
    full, cpu, found = load_onnx(SHIPPED), load_onnx(data), load_onnx(data, device=OPENVINO)
    assert found.provider == NAME
    masks = [net.predict(crop(512)).argmax(1) for net in (full, cpu, found)]
    assert len(np.unique(masks[0])) == 4
    assert float((masks[2] == masks[1]).mean()) > 0.995
    assert float((masks[2] == masks[0]).mean()) > 0.99


@needed
def test_every_file_of_the_shipped_model_runs_there(tmp_path: Path) -> None:
    storage = open_storage(tmp_path)
    try:
        model = load_model(storage, publish_default(storage).ref, provider="openvino")
        assert (model.provider, [net.provider for net in model.nets]) == (NAME, [NAME, NAME])
        assert {net.dropout_rate for net in model.nets} == {model.card.dropout_rate}
    finally:
        storage.close()


@needed
def test_many_callers_of_many_sizes_get_the_same_bits_each_time() -> None:
    net = load_onnx(SHIPPED, device=OPENVINO)
    sizes = [96, 128, 160, 200]

    def run(number: int) -> tuple[bytes, bytes]:
        tile = crop(sizes[number % 4])
        masks = draw_masks(net.dropout, seed=number % 4, member=0, draws=range(1, 5))
        return net.predict(tile).tobytes(), net.predict_drawn(tile, masks).tobytes()

    alone = [run(number) for number in range(4)]
    assert len(set(alone)) == 4
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(run, range(24))) == alone * 6


def test_openvino_computes_in_float32_unless_told_otherwise() -> None:
    """By itself it takes bfloat16 where the processor can, and the mask would depend on the machine."""
    ((name, options),) = providers._providers(OPENVINO, b"", threads=1)
    assert (name, options["device_type"]) == (NAME, "CPU")
    assert json.loads(options["load_config"])["CPU"]["INFERENCE_PRECISION_HINT"] == "f32"
    assert int(options["num_of_threads"]) == int(json.loads(options["load_config"])["CPU"]["NUM_STREAMS"])


@needed
def test_an_option_that_openvino_does_not_take_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime itself goes on with the CPU then, and a config that is not read would be no promise of float32."""
    for options in ({"nonsense": "1"}, {"load_config": '{"CPU": {"NONSENSE": "1"}}'}, {"device_type": "GPU.7"}):
        monkeypatch.setattr(providers, "_providers", lambda *_, options=options, **__: [(NAME, options)])
        with pytest.raises(Unavailable, match="OpenVINO"):
            load_onnx(color_net(), device=OPENVINO)
        assert load_onnx(color_net(), device=Device("openvino", fallback=True)).provider == "CPUExecutionProvider"


def with_double_product() -> bytes:
    """The colour net behind a product in float64, which the provider leaves to the CPU."""
    model = onnx.load_from_string(color_net())
    (conv,) = model.graph.node
    conv.output[0] = "plain"
    model.graph.initializer.append(numpy_helper.from_array(np.eye(64), "eye"))
    model.graph.node.extend(
        [
            helper.make_node("Cast", ["plain"], ["double"], to=TensorProto.DOUBLE),
            helper.make_node("MatMul", ["double", "eye"], ["product"]),
            helper.make_node("Cast", ["product"], ["logits"], to=TensorProto.FLOAT),
        ]
    )
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


@needed
def test_work_left_to_the_cpu_is_an_error_although_openvino_is_first_in_line() -> None:
    data = with_double_product()
    with pytest.raises(Unavailable, match="runs on CPUExecutionProvider") as caught:
        load_onnx(data, device=OPENVINO)
    assert caught.value.code == "provider_unavailable"
    assert load_onnx(data, device=Device("openvino", fallback=True)).provider == "CPUExecutionProvider"


@needed
@pytest.mark.parametrize("data", [b"", b"nothing that is a network", SHIPPED[:1000]])
def test_what_is_no_network_is_said_to_be_none(data: bytes) -> None:
    for device in (OPENVINO, Device("openvino", fallback=True)):
        with pytest.raises(Invalid) as caught:
            load_onnx(data, device=device)
        assert caught.value.code == "bad_model"


def test_a_net_the_provider_cannot_run_is_no_bad_net(monkeypatch: pytest.MonkeyPatch) -> None:
    """As OpenVINO says of weights that are computed: the file is sound, the deployment is not."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [NAME])
    real = onnxruntime.InferenceSession

    def session(data: bytes, options: object, *, providers: list[object]) -> object:
        if providers != ["CPUExecutionProvider"]:
            message = "Doesn't support dynamic weights shape"
            raise RuntimeError(message)
        return real(data, options, providers=providers)

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    with pytest.raises(Unavailable, match=r"cannot run this network: .*weights shape") as caught:
        load_onnx(SHIPPED, device=OPENVINO)
    assert "cpu" in caught.value.hint
    net: OnnxNet = load_onnx(SHIPPED, device=Device("openvino", fallback=True))
    assert net.provider == "CPUExecutionProvider"
    with pytest.raises(Invalid, match="cannot load"):
        load_onnx(b"nothing", device=OPENVINO)
