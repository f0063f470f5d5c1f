"""P1 and P3: one image of 4,096 px, mask only, beside MONAI's sliding window: ``python -m bench tiles``.

The net is a U-Net with ResNet-34, trained a few steps on SYNTHETIC sections so that agreement means something; both
sides have its weights. The peer is torch eager under MONAI's SlidingWindowInferer (256 px, overlap .25, Gaussian). CPU
seconds on one thread, all variants in turn, medians of pairwise ratios. The ceiling is the fastest product of matrices
of this machine in the same run, in float32 (numpy's BLAS) and in int8 (ONNX Runtime); a share is of the operations that
the image needs without overlap. MONAI is no dependency of Intima: ``pip install --no-deps monai`` where it is missing.
OpenVINO is measured where the interpreter has it (docs/providers.md).
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import onnxruntime
import torch
from onnx import TensorProto, helper
from torch import nn

from intima.architectures import complete_architecture
from intima.architectures.build import build_net
from intima.arrays import LabelMask, Predict, RgbImage
from intima.contracts.benchmark import ArchitectureWish
from intima.geometry import Size
from intima.inference import load_onnx
from intima.phantom import draw_specs, render
from intima.providers import Device, session_options
from intima.resampling import resample_image
from intima.tiling import TileGrid, Work, predict_blocks, read_from, to_tile_batch
from intima.training.cost import count_cost
from intima.training.export import to_onnx
from intima.training.quantize import quantize_net

SIDE_PX = 4096
TILE_PX = 256
WAYS = {
    "ONNX f32, 256 px, halo 32": ("fp32", 256, 32, False),
    "ONNX f32, 512 px, halo 32, even": ("fp32", 512, 32, True),
    "ONNX f32, 1088 px, halo 32, even": ("fp32", 1088, 32, True),
    "ONNX int8, 1088 px, halo 32, even": ("int8", 1088, 32, True),
}
ON_OPENVINO = {
    "OpenVINO f32, 1088 px, halo 32, even": ("fp32", 1088, 32, True),
    "OpenVINO int8, 1088 px, halo 32, even": ("int8", 1088, 32, True),
}
GOALS = {
    "ONNX f32, 1088 px, halo 32, even": 2.2,
    "ONNX int8, 1088 px, halo 32, even": 6.5,
    "OpenVINO int8, 1088 px, halo 32, even": 8.0,
}
SHARES = {"ONNX f32, 1088 px, halo 32, even": 0.80, "ONNX int8, 1088 px, halo 32, even": 0.60}
"""Goal P3."""


def main() -> int:
    """Print the table. Returns 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--side", type=int, default=SIDE_PX)
    parser.add_argument("--ways", default="", help="of ours only those with this in their name")
    options = parser.parse_args()
    torch.set_num_threads(1)
    net, crops = trained(options.steps)
    image = section(options.side)
    data = to_onnx(net)
    formats = {"fp32": data, "int8": quantize_net(data, tiles=crops)}
    nets = {name: load_onnx(file).predict for name, file in formats.items()}
    needed = count_cost(net, tile_px=TILE_PX).flops * (options.side / TILE_PX) ** 2
    ceilings = {"fp32": float_ceiling(), "int8": integer_ceiling()}
    print(
        f"{needed / 1e9:.0f} GFLOP without overlap; ceilings {ceilings['fp32']:.0f} GFLOP/s, "
        f"{ceilings['int8']:.0f} GOP/s"
    )
    ways: dict[str, Callable[[], LabelMask]] = {"MONAI .25": lambda: by_monai(net, image)}
    ours = {name: (nets[way[0]], *way) for name, way in WAYS.items()}
    if "OpenVINOExecutionProvider" in onnxruntime.get_available_providers():
        there = {name: load_onnx(file, device=Device("openvino")).predict for name, file in formats.items()}
        ours |= {name: (there[way[0]], *way) for name, way in ON_OPENVINO.items()}
    else:
        print("OpenVINO not measured: this ONNX Runtime is not onnxruntime-openvino")
    ours = {name: way for name, way in ours.items() if options.ways in name}
    ways |= {name: on_image(net, image, px, halo, even) for name, (net, _, px, halo, even) in ours.items()}
    masks, rounds = {}, []
    for _ in range(options.rounds):
        seconds = {}
        for name, way in ways.items():
            started = time.process_time()
            masks[name] = way()
            seconds[name] = time.process_time() - started
        rounds.append(seconds)
    print("| way | CPU s | x MONAI .25 | share of ceiling | pixels run | agreement |\n|---|---|---|---|---|---|")
    missed = 0
    for name in ways:
        ratio = statistics.median(r["MONAI .25"] / r[name] for r in rounds)
        used = statistics.median(r[name] for r in rounds)
        _, kind, px, halo, even = ours.get(name, (None, "fp32", TILE_PX, 0, False))
        share = needed / used / 1e9 / ceilings[kind]
        run = pixels_run(options.side, px, halo, even) if name in ours else monai_pixels(options.side)
        agreement = float((masks[name] == masks["MONAI .25"]).mean())
        faster, fuller = verdict(ratio, GOALS.get(name)), verdict(share, SHARES.get(name))
        missed += "FAIL" in faster + fuller
        print(
            f"| {name} | {used:.1f} | {ratio:.2f}{faster} | {share:.2f}{fuller} | {run:.2f} | {agreement:.4f} |",
            flush=True,
        )
    return 1 if missed else 0


def verdict(value: float, goal: float | None) -> str:
    """Return what to print behind a figure."""
    return "" if goal is None else f", {'pass' if value >= goal else 'FAIL'} at {goal}"


def section(side: int) -> RgbImage:
    """Return a SYNTHETIC section."""
    return resample_image(
        render(draw_specs(seed=72, subjects=1, size_px=1024, mpp=2.0)[0].spec).image, Size(side, side)
    )


def trained(steps: int) -> tuple[nn.Module, list[np.ndarray]]:
    """Return a net after a few steps, and crops to calibrate on."""
    spec = complete_architecture(ArchitectureWish(name="unet", encoder="resnet34", weights="random"))
    net = build_net(spec, classes=4, parameters={"dropout": 0.1}, seed=0)
    phantoms = [render(item.spec) for item in draw_specs(seed=73, subjects=4, size_px=1024, mpp=2.0)]
    random = np.random.default_rng(0)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    crops = []
    net.train()
    for _ in range(steps):
        images, masks = [], []
        for _ in range(4):
            phantom = phantoms[random.integers(len(phantoms))]
            y, x = random.integers(0, 1024 - TILE_PX, 2)
            images.append(phantom.image[y : y + TILE_PX, x : x + TILE_PX])
            masks.append(phantom.mask[y : y + TILE_PX, x : x + TILE_PX])
        tiles = to_tile_batch(images)
        crops.append(tiles)
        loss = nn.functional.cross_entropy(net(torch.from_numpy(tiles)), torch.from_numpy(np.stack(masks)).long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"trained {steps} steps, last loss {loss.item():.3f}")
    return net.eval(), crops[-16:]


def by_monai(net: nn.Module, image: RgbImage) -> LabelMask:
    """Segment with the peer."""
    from monai.inferers import SlidingWindowInferer

    inferer = SlidingWindowInferer(roi_size=(TILE_PX, TILE_PX), sw_batch_size=4, overlap=0.25, mode="gaussian")
    tensor = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))[None].astype(np.float32) / 255)
    with torch.inference_mode():
        mask: LabelMask = inferer(tensor, net)[0].argmax(0).to(torch.uint8).numpy()
    return mask


def on_image(predict: Predict, image: RgbImage, px: int, halo: int, even: bool) -> Callable[[], LabelMask]:
    """Return what segments an image in tiles."""

    def run() -> LabelMask:
        mask = np.empty(image.shape[:2], np.uint8)
        size = Size(image.shape[1], image.shape[0])
        for region, logits in predict_blocks(
            read_from(image), size=size, predict=predict, tile_px=px, halo_px=halo, even=even, work=Work(batch=1)
        ):
            assert logits is not None
            rows, columns = slice(region.y, region.y + region.height), slice(region.x, region.x + region.width)
            mask[rows, columns] = logits.argmax(0)
        return mask

    return run


def pixels_run(side: int, px: int, halo: int, even: bool) -> float:
    """Return the pixels that tiles take over those of the image."""
    return sum(r.size.pixels for row in TileGrid(Size(side, side), px, halo, even).rows() for r in row) / side**2


def monai_pixels(side: int) -> float:
    """Return the same for the peer: windows 192 px apart, the last one moved in."""
    count = int(np.ceil((side - TILE_PX) / 192)) + 1
    return (count * TILE_PX / side) ** 2


def float_ceiling() -> float:
    """Return GFLOP/s of the fastest of several float32 products of numpy on one thread."""
    a = np.random.default_rng(0).random((2048, 2048), np.float32)
    return max(2 * 2048**3 / _cpu_s(lambda: a @ a) for _ in range(5)) / 1e9


def integer_ceiling() -> float:
    """Return GOP/s of the fastest of several products of U8 by S8 in ONNX Runtime on one thread."""
    node = helper.make_node("MatMulInteger", ["a", "b"], ["c"])
    shape = [2048, 2048]
    inputs = [
        helper.make_tensor_value_info(n, k, shape) for n, k in (("a", TensorProto.UINT8), ("b", TensorProto.INT8))
    ]
    out = helper.make_tensor_value_info("c", TensorProto.INT32, shape)
    model = helper.make_model(
        helper.make_graph([node], "product", inputs, [out]), opset_imports=[helper.make_opsetid("", 18)], ir_version=9
    )
    options = session_options()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    feeds = {"a": random.integers(0, 255, shape, np.uint8), "b": random.integers(-64, 64, shape, np.int8)}
    return max(2 * 2048**3 / _cpu_s(lambda: session.run(None, feeds)) for _ in range(5)) / 1e9


def _cpu_s(call: Callable[[], object]) -> float:
    started = time.process_time()
    call()
    return time.process_time() - started


if __name__ == "__main__":
    sys.exit(main())
