"""Images, datasets and a model whose answer is known exactly."""

import atexit
import io
import json
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from intima.contracts.benchmark import ArchitectureSpec
from intima.contracts.dataset import ClassSpec, Similarity, StoredCase
from intima.contracts.evidence import (
    CalibrationFigure,
    Figure,
    OutOfFoldEvidence,
    Residual,
    ReviewRule,
    Temperature,
)
from intima.contracts.model import LeftOut, Member, MemberFile, ModelCard, Parity, Precision, Variant
from intima.labels import ARTERY
from intima.registry import publish
from intima.review import summary_of
from intima.store.scratch import Scratch
from intima.store.storage import Storage

SCRATCH = Scratch(Path(tempfile.gettempdir()), 0, ExitStack())
"""Where writers keep images of their own in tests; closed at the end."""
atexit.register(SCRATCH.stack.close)

COMPARED = Similarity(pairs=(), compared=0, overlaps_searched=True, fingerprints_sha256="0" * 64)
"""Of a dataset whose images share nothing."""
COLORS = np.array([[240, 240, 240], [90, 180, 235], [230, 160, 0], [200, 120, 170]], np.uint8)
"""RGB of background, lumen, neointima, media in the test images."""


def stored_case(
    case: str, subject: str, *, block: str | None = None, mpp: float | None = 1.0, px: int = 64
) -> StoredCase:
    """Return a square case whose files are not there."""
    return StoredCase(
        case=case,
        subject=subject,
        block=block,
        section=None,
        mpp=mpp,
        width=px,
        height=px,
        image_sha256="0" * 64,
        mask_sha256="1" * 64,
    )


def color_net(jitter: float = 0.0) -> bytes:
    """Return an ONNX net that gives each pixel the class whose colour is nearest: logits are linear in RGB."""
    colors = COLORS.astype(np.float32) / 255
    weight = (40 * colors).reshape(4, 3, 1, 1)
    bias = -20 * (colors**2).sum(1) + np.array([0, jitter, 0, 0], np.float32)
    shape = ["n", 3, "h", "w"]
    graph = helper.make_graph(
        [helper.make_node("Conv", ["tiles", "weight", "bias"], ["logits"], kernel_shape=[1, 1])],
        "color",
        [helper.make_tensor_value_info("tiles", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 4, "h", "w"])],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(bias.astype(np.float32), "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


_PARITY = Parity(max_abs=0.0, mean_abs=0.0, argmax_agreement=1.0, macro_dice=1.0, area_change={})


def publish_color_model(
    storage: Storage,
    *,
    name: str,
    mpp: float | None,
    members: int = 2,
    precisions: tuple[Precision, ...] = (),
    known: OutOfFoldEvidence | None = None,
) -> str:
    """Publish the colour net; returns name@version. Its variants differ by a hair, so that one can tell them apart."""
    stored, variants = [], []
    for seed in range(members):
        data = color_net(jitter=0.01 * seed)
        stored.append(Member(seed=seed, onnx_sha256=storage.blobs.put(data), bytes=len(data)))
    for number, precision in enumerate(precisions):
        nets = [color_net(jitter=0.01 * seed + 0.001 * number) for seed in range(members)]
        files = tuple(MemberFile(sha256=storage.blobs.put(net), bytes=len(net)) for net in nets)
        variants.append(Variant(precision=precision, members=files, parity=_PARITY))
    card = ModelCard(
        name=name,
        architecture=ArchitectureSpec(name="unet"),
        classes=tuple(ClassSpec(index=c.index, name=c.name, color=c.color) for c in ARTERY.classes),
        mpp=mpp,
        pixel_scale=1.0,
        tile_px=256,
        halo_px=32,
        members=tuple(stored),
        parameters={},
        encoder_weights="none",
        weights_licence="Apache-2.0",
        dataset="none",
        dataset_version="none",
        dataset_licence="none",
        synthetic=True,
        benchmark=None,
        scores=(),
        parity_max_abs=0.0,
        parameter_count=16,
        intima_version="test",
        evidence=known,
        calibration=summary_of(known),
        variants=tuple(variants),
        left_out=(LeftOut(precision="int8", reason="spoils the media"),) if variants else (),
    )
    return publish(storage, card).ref


def rings(size: int = 400, *, radii: tuple[int, int, int] = (60, 90, 120), center: int = 200) -> np.ndarray:
    """Return a label mask of concentric circles: lumen, neointima, media."""
    y, x = np.mgrid[:size, :size]
    distance = np.hypot(y - center + 0.5, x - center + 0.5)
    mask = np.zeros((size, size), np.uint8)
    for label, radius in ((3, radii[2]), (2, radii[1]), (1, radii[0])):
        mask[distance < radius] = label
    return mask


def png(pixels: np.ndarray) -> bytes:
    """Return pixels as PNG."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "png")
    return out.getvalue()


def dataset_zip(
    masks: dict[str, np.ndarray],
    *,
    edit: Callable[[dict[str, Any]], None] = lambda manifest: None,
    mpp: float | None = 2.0,
    shown: Callable[[np.ndarray], np.ndarray] = lambda mask: mask,
) -> bytes:
    """Return a dataset zip with one subject per mask; ``edit`` may spoil the manifest.

    ``shown`` is what the image of a mask shows: where it is not the mask itself, a net that sees right is wrong.
    """
    out = io.BytesIO()
    cases = []
    with zipfile.ZipFile(out, "w") as bundle:
        for name, mask in masks.items():
            bundle.writestr(f"images/{name}.png", png(COLORS[shown(mask)]))
            bundle.writestr(f"masks/{name}.png", png(mask))
            cases.append({"image": f"images/{name}.png", "mask": f"masks/{name}.png", "subject": name, "mpp": mpp})
        classes = [{"index": c.index, "name": c.name, "color": c.color} for c in ARTERY.classes]
        manifest: dict[str, Any] = {"name": "rings", "licence": "CC0", "classes": classes, "cases": cases}
        edit(manifest)
        bundle.writestr("manifest.json", json.dumps(manifest))
    return out.getvalue()


def evidence(
    *residuals: Residual, biased: bool = False, threshold: float = 0.9, temperature: float = 1.0
) -> OutOfFoldEvidence:
    """Return what nine held-out subjects might have said."""
    figure = Figure(mean=0.1, ci95=(0.05, 0.15), subjects=9)
    return OutOfFoldEvidence(
        basis="out-of-fold",
        protocol="loocv",
        selection_biased=biased,
        members=1,
        passes=8,
        subjects=9,
        cases=9,
        vessels=9,
        vessels_found=9,
        boundary_band="5 µm",
        temperature=Temperature(value=temperature, fitted=temperature, reason="", nll=figure, nll_left_out=figure),
        calibration=(CalibrationFigure(name="ece", before=figure, after=figure),),
        reliability=(),
        margins=(),
        residuals=residuals,
        review=ReviewRule(threshold=threshold, basis="test"),
    )
