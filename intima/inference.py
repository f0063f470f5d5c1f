"""Run a published ONNX network as a Predict. The provider asked for is the provider used, or it is an error."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnxruntime

from intima.arrays import LogitBatch, Predict, TileBatch
from intima.contracts.model import ModelCard, ModelVersion, Precision
from intima.errors import Invalid, Unavailable
from intima.registry import read_members, resolve
from intima.store.storage import Storage

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
    options = session_options()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(data, options, providers=[wanted])
    except Exception as error:  # ONNX Runtime's exception types share no other base
        raise Invalid(f"ONNX Runtime cannot load this network: {error}", code="bad_model") from error
    if session.get_providers()[0] != wanted:
        raise Unavailable(
            f"Asked for {wanted}, but ONNX Runtime runs on {session.get_providers()[0]}.",
            code="provider_unavailable",
            hint="Check the CUDA driver and libraries, or ask for the provider cpu.",
        )
    return session


def session_options() -> Any:
    """Return options that read any file as ONNX; by itself the runtime takes one marked "ORTM" for its own format."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.log_severity_level = 3
    return options


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A published model, ready to run."""

    version: ModelVersion
    predicts: tuple[Predict, ...]
    """One per member."""
    provider: str
    """ONNX Runtime's name of the provider really in use."""
    precision: Precision = "fp32"

    @property
    def card(self) -> ModelCard:
        """The model's card."""
        return self.version.card


def load_model(
    storage: Storage, ref: str, *, precision: Precision = "fp32", provider: ProviderName = "cpu", threads: int = 1
) -> LoadedModel:
    """Load all members of a published model in one number format.

    Raises:
        NotFound: no such model.
        Invalid: the model has no such variant, a member does not load, or its classes are not those of the card.
        Unavailable: the provider asked for does not run here.
    """
    version = resolve(storage, ref)
    files = read_members(storage, version.card, precision=precision)
    nets = [load_onnx(data, provider=provider, threads=threads) for data in files]
    for net in nets:
        if net.classes != len(version.card.classes):
            raise Invalid(f"{version.ref} gives {net.classes} classes; its card has {len(version.card.classes)}.")
    predicts = tuple(net.predict for net in nets)
    return LoadedModel(version=version, predicts=predicts, provider=nets[0].provider, precision=precision)
