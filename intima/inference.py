"""Run a published ONNX network as a Predict. The provider asked for is the provider used, or it is an error."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnxruntime

from intima.arrays import LogitBatch, Predict, TileBatch
from intima.errors import Invalid, Unavailable

ProviderName = Literal["cpu", "cuda"]
_PROVIDERS: dict[ProviderName, str] = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


@dataclass(frozen=True, slots=True)
class OnnxNet:
    """A loaded network."""

    predict: Predict
    provider: str
    """ONNX Runtime's name of the provider really in use."""
    classes: int


def load_onnx(data: bytes, *, provider: ProviderName = "cpu", threads: int = 1) -> OnnxNet:
    """Load a network from its bytes.

    Args:
        data: a self-contained ONNX file: input (tiles, 3, h, w) float32 in 0..1, output (tiles, classes, h, w).
        provider: where to run; never replaced by another in silence.
        threads: threads inside one operator; 1 with several workers scales best on a shared machine.

    Raises:
        Invalid: not a usable network.
        Unavailable: the provider asked for does not run here.
    """
    session = _open(data, provider=provider, threads=threads)
    name = session.get_inputs()[0].name

    def predict(tiles: TileBatch) -> LogitBatch:
        out: LogitBatch = session.run(None, {name: tiles})[0]
        return out

    probe = predict(np.zeros((1, 3, 64, 64), np.float32))
    if probe.ndim != 4 or probe.shape[2:] != (64, 64) or not np.isfinite(probe).all():
        raise Invalid(f"Got output of shape {probe.shape} for a 64 px tile; need finite (1, classes, 64, 64).")
    return OnnxNet(predict=predict, provider=str(session.get_providers()[0]), classes=int(probe.shape[1]))


def _open(data: bytes, *, provider: ProviderName, threads: int) -> Any:
    wanted = _PROVIDERS[provider]
    if wanted not in onnxruntime.get_available_providers():
        raise Unavailable(
            f"{wanted} is not part of this ONNX Runtime.",
            code="provider_unavailable",
            hint="Install onnxruntime-gpu on a CUDA machine, or ask for the provider cpu.",
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(data, options, providers=[wanted])
    except Exception as error:  # noqa: BLE001  ONNX Runtime's exception types share no base but Exception
        raise Invalid(f"ONNX Runtime cannot load this network: {error}", code="bad_model") from error
    if session.get_providers()[0] != wanted:
        raise Unavailable(
            f"Asked for {wanted}, but ONNX Runtime runs on {session.get_providers()[0]}.",
            code="provider_unavailable",
            hint="Check the CUDA driver and libraries, or ask for the provider cpu.",
        )
    return session
