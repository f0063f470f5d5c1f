"""Run by an interpreter with TIAToolbox, not by ours: ``python -P _toolbox_peer.py FOLDER PATCH OUT STRIDE``.

Reads net.pt and image.npy of the folder, writes mask.npy, and prints the CPU seconds of the engine's run as JSON.
Without arguments it only tells whether it could.
"""

import json
import runpy
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import torch

runpy.run_path(str(Path(__file__).parents[1] / "intima/architectures/torchvision_shim.py"))

# isort: split
# ruff: noqa: E402  the shim comes before what imports torchvision
import tiatoolbox
from tiatoolbox.models import SemanticSegmentor
from tiatoolbox.models.engine.io_config import IOSegmentorConfig
from tiatoolbox.models.models_abc import ModelABC

NATIVE = {"units": "baseline", "resolution": 1.0}


class Wrapped(ModelABC):
    """Our net as one of theirs: a batch of NHWC bytes to NHWC probabilities, cut to the middle of a patch."""

    def __init__(self, net, out_px):
        super().__init__()
        self.net, self.out_px = net, out_px

    def forward(self, images):
        return self.net(images)

    @staticmethod
    def infer_batch(model, batch_data, *, device):
        images = batch_data.to(device=device, dtype=torch.float32).permute(0, 3, 1, 2) / 255
        with torch.inference_mode():
            found = torch.softmax(model(images), 1)
        edge = (found.shape[-1] - model.out_px) // 2
        inner = found[:, :, edge : edge + model.out_px, edge : edge + model.out_px]
        return inner.permute(0, 2, 3, 1).contiguous().numpy()

    @staticmethod
    def postproc(image):
        return image.argmax(-1).astype(np.uint8)


def main():
    if len(sys.argv) == 1:
        return
    folder, (patch, out, stride) = Path(sys.argv[1]), map(int, sys.argv[2:5])
    torch.set_num_threads(1)
    image = np.load(folder / "image.npy")
    net = Wrapped(torch.jit.load(folder / "net.pt").eval(), out)
    with torch.inference_mode():
        for _ in range(3):
            net(torch.zeros(1, 3, patch, patch))
    config = IOSegmentorConfig(
        input_resolutions=[NATIVE],
        output_resolutions=[NATIVE],
        save_resolution=NATIVE,
        patch_input_shape=(patch, patch),
        patch_output_shape=(out, out),
        stride_shape=(stride, stride),
    )
    cv2.imwrite(str(folder / "image.png"), image[..., ::-1])
    engine = SemanticSegmentor(model=net, batch_size=4, num_workers=0, device="cpu", verbose=False)
    started = time.process_time()
    found = engine.run(
        images=[folder / "image.png"],
        patch_mode=False,
        ioconfig=config,
        auto_get_mask=False,
        save_dir=folder / "output",
        overwrite=True,
        output_type="zarr",
    )
    seconds = time.process_time() - started
    mask = read(next(iter(found.values())))
    np.save(folder / "mask.npy", mask[: image.shape[0], : image.shape[1]])
    print(json.dumps({"cpu_s": seconds, "version": tiatoolbox.__version__, "torch": torch.__version__}))


def read(path):
    """Return the predictions that the engine wrote."""
    import zarr

    stored = zarr.open(str(path), mode="r")
    return np.asarray(stored["predictions"])


if __name__ == "__main__":
    main()
