"""Quantise an ONNX net to 8 bits: static, QDQ form, U8 activations and S8 weights per channel.

The form that ONNX Runtime runs fastest on a CPU. Weights use 7 of their 8 bits: processors without VNNI add pairs of
products in 16 bits, and full weights overflow there without a word. So one file gives one mask on any processor. The
same net and tiles give the same bytes.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.quant_utils import add_pre_process_metadata

from intima.arrays import TileBatch
from intima.errors import Invalid
from intima.uncertainty import RATE_KEY

_WARNINGS, _ERRORS = 2, 3
"""Levels of the runtime's log; the first is its own. There it warns of every input with a default, as masks are."""


def quantize_net(data: bytes, *, tiles: Sequence[TileBatch]) -> bytes:
    """Return a net with 8-bit weights and activations; input and output stay float32.

    Args:
        data: a float32 net as ``export.to_onnx`` writes it.
        tiles: real tiles; the range of each activation is the smallest and largest value on them.

    Raises:
        Invalid: no tiles, or the net cannot be quantised.
    """
    if not tiles:
        raise Invalid("Got no tiles; need at least one batch to calibrate on.")
    with TemporaryDirectory(prefix="intima-quantize-") as name:
        folder = Path(name)
        try:
            fused = _fuse(data, folder)
            _quantize(fused, folder / "int8.onnx", tiles=tiles)
            quantized = onnx.load(folder / "int8.onnx")
        except Exception as error:  # the quantiser's exceptions share no base
            message = str(error).strip().partition("\n")[0]
            raise Invalid(
                f"ONNX Runtime cannot quantise this net: {message[:200] or type(error).__name__}", code="quantization"
            ) from error
    return _tidy(quantized)


class _Tiles(CalibrationDataReader):  # type: ignore[misc]
    """The tiles, as the calibrator asks for them."""

    def __init__(self, tiles: Sequence[TileBatch], *, name: str) -> None:
        self._feeds: Iterator[dict[str, NDArray[np.float32]]] = iter([{name: batch} for batch in tiles])

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """Return the next feed, or None at the end."""
        return next(self._feeds, None)


def _fuse(data: bytes, folder: Path) -> onnx.ModelProto:
    """Fold batch normalisation into convolutions and constants into weights, staying with standard operators."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folder / "fused.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    fused = onnx.load(folder / "fused.onnx")
    add_pre_process_metadata(fused)
    return fused


def _quantize(fused: onnx.ModelProto, target: Path, *, tiles: Sequence[TileBatch]) -> None:
    """Quantise all but what comes after dropout: ranges are measured without it, and it makes values larger."""
    onnxruntime.set_default_logger_severity(_ERRORS)
    try:
        _quantize_static(fused, target, tiles=tiles)
    finally:
        onnxruntime.set_default_logger_severity(_WARNINGS)


def _quantize_static(fused: onnx.ModelProto, target: Path, *, tiles: Sequence[TileBatch]) -> None:
    quantize_static(
        fused,
        str(target),
        _Tiles(tiles, name=fused.graph.input[0].name),
        nodes_to_exclude=_behind({i.name for i in fused.graph.input[1:]}, fused.graph),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        reduce_range=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
    )


def _behind(inputs: set[str], graph: onnx.GraphProto) -> list[str]:
    """Return the names of all nodes that some inputs have a say in; nodes stand in the order they run in."""
    reached, names = set(inputs), []
    for node in graph.node:
        if not reached.isdisjoint(node.input):
            reached.update(node.output)
            names.append(node.name)
    return names


def _tidy(model: onnx.ModelProto) -> bytes:
    """Drop what the tools wrote about themselves, in an order of their own, and domains that no node is of."""
    kept = [p for p in model.metadata_props if p.key == RATE_KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    used = {node.domain for node in model.graph.node} | {""}
    opsets = sorted((o.domain, o.version) for o in model.opset_import if o.domain in used)
    del model.opset_import[:]
    model.opset_import.extend(onnx.helper.make_opsetid(domain, version) for domain, version in opsets)
    tidied: bytes = model.SerializeToString(deterministic=True)
    return tidied
