"""Where networks run: sessions of ONNX Runtime on the provider asked for, or an error.

Of OpenVINO every heavy operator is looked at; of CUDA and TensorRT whether ONNX Runtime put them first in line.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime

from intima.contracts.model import ProviderName
from intima.errors import Invalid, Unavailable
from intima.masked_maps import mask_maps

_PROVIDERS: dict[ProviderName, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
}
_HINTS: dict[ProviderName, str] = {
    "cuda": "Install onnxruntime-gpu on a CUDA machine, or ask for the provider cpu.",
    "tensorrt": "Install onnxruntime-gpu and TensorRT on a CUDA machine, or ask for the provider cuda or cpu.",
    "openvino": "Install onnxruntime-openvino in place of onnxruntime, or ask for the provider cpu.",
}
_CONVOLUTIONS = {"Conv", "ConvInteger", "ConvTranspose", "FusedConv", "QLinearConv"}
_HEAVY = _CONVOLUTIONS | {"FusedMatMul", "Gemm", "MatMul", "MatMulInteger", "QLinearMatMul"}
"""Operators that take the time of a network."""
_MOST_CALLERS = 4
"""Threads that one session on OpenVINO serves side by side; the others wait."""


@dataclass(frozen=True, slots=True)
class Device:
    """Where networks run."""

    provider: ProviderName = "cpu"
    fallback: bool = False
    """Whether the CPU may stand in for a provider that is not there; what is in use is said in either case."""
    engines: Path | None = None
    """Where TensorRT keeps the engines it has built; null: it builds them each time."""


CPU = Device()
_CPU = _PROVIDERS["cpu"]


def open_session(data: bytes, *, device: Device, threads: int) -> Any:
    """Return a session of a network on a device, or on the CPU where that may stand in.

    On OpenVINO the masks of dropout multiply maps and must be given.

    Raises:
        Invalid: no network that ONNX Runtime can load.
        Unavailable: the provider asked for is not there, or cannot run this network.
    """
    if device.provider == "cpu":
        return _on_cpu(data, threads=threads)
    try:
        return _on_provider(data, device=device, threads=threads)
    except Unavailable:
        session = _on_cpu(data, threads=threads)
        if not device.fallback:
            raise
        return session


def _on_provider(data: bytes, *, device: Device, threads: int) -> Any:
    """Return a session on the provider asked for. Raises Unavailable where it does not do the work."""
    wanted = _PROVIDERS[device.provider]
    if wanted not in onnxruntime.get_available_providers():
        raise _refusal(f"{wanted} is not part of this ONNX Runtime.", hint=_HINTS[device.provider])
    try:
        graph = mask_maps(data) if device.provider == "openvino" else data
        session = _session(graph, _providers(device, data, threads=threads), threads=threads, strict=True)
    except Exception as error:  # ONNX Runtime's exception types share no other base
        message = " ".join(str(error).split())[-200:]
        raise _refusal(f"{wanted} cannot run this network: {message}", hint="Ask for the provider cpu.") from error
    used = _used(session, device)
    if used != wanted:
        raise _refusal(
            f"Asked for {wanted}, but ONNX Runtime runs on {used}.",
            hint="Check the driver and the libraries, or ask for the provider cpu.",
        )
    return session


def _refusal(message: str, *, hint: str) -> Unavailable:
    return Unavailable(message, code="provider_unavailable", hint=hint)


def _on_cpu(data: bytes, *, threads: int) -> Any:
    try:
        return _session(data, [_CPU], threads=threads)
    except Exception as error:  # ONNX Runtime's exception types share no other base
        raise Invalid(f"ONNX Runtime cannot load this network: {error}", code="bad_model") from error


def _session(data: bytes, providers: list[Any], *, threads: int, strict: bool = False) -> Any:
    options = session_options()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    if strict:
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    return onnxruntime.InferenceSession(data, options, providers=providers)


def _used(session: Any, device: Device) -> str:
    """Return the provider that does the work. OpenVINO is first in line even where the CPU runs what it cannot."""
    first = str(session.get_providers()[0])
    if device.provider != "openvino":
        return first
    parts = session.get_provider_graph_assignment_info()
    beside = [p.ep_name for p in parts if p.ep_name != first and any(n.op_type in _HEAVY for n in p.get_nodes())]
    return str(beside[0]) if beside else first


def _providers(device: Device, data: bytes, *, threads: int) -> list[str | tuple[str, dict[str, Any]]]:
    """Return the provider with its options and, for TensorRT, the one that runs what it cannot.

    TensorRT names its engines by the graph and not by the weights, so every file has a folder of its own. OpenVINO by
    itself computes in bfloat16 where a processor can, and runs one caller at a time; its cache saves no time on a CPU.
    """
    name = _PROVIDERS[device.provider]
    if device.provider == "openvino":
        callers = min(_MOST_CALLERS, len(os.sched_getaffinity(0)))
        exact = {"CPU": {"INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": str(callers)}}
        limits = {"device_type": "CPU", "num_of_threads": str(threads * callers), "load_config": json.dumps(exact)}
        return [(name, limits)]
    if device.provider != "tensorrt":
        return [name]
    kept: dict[str, Any] = {}
    if device.engines is not None:
        folder = device.engines / onnxruntime.__version__ / hashlib.sha256(data).hexdigest()
        folder.mkdir(parents=True, exist_ok=True)
        kept = {"trt_engine_cache_enable": True, "trt_engine_cache_path": str(folder)}
    return [(name, kept), _PROVIDERS["cuda"]]


def session_options() -> Any:
    """Return options that read any file as ONNX; by itself the runtime takes one marked "ORTM" for its own format."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.log_severity_level = 3
    return options
