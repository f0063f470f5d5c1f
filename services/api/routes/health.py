"""Liveness and readiness."""

import onnxruntime
from fastapi import APIRouter

from intima.registry import DEFAULT_MODEL, resolve
from services.api.dependencies import StateDep

router = APIRouter(tags=["health"])


@router.get("/livez", operation_id="get_liveness")
async def get_liveness() -> dict[str, str]:
    """Say that the process answers; needs no thread, so that it answers while every thread is busy."""
    return {"status": "ok"}


@router.get("/readyz", operation_id="get_readiness")
def get_readiness(state: StateDep) -> dict[str, object]:
    """Say whether the default model loads, on which ONNX Runtime provider, and how long the queue is."""
    ref = resolve(state.storage, DEFAULT_MODEL).ref
    model = state.models.get(ref)
    return {
        "status": "ok",
        "provider": model.provider,
        "provider_asked": state.settings.provider,
        "onnxruntime": onnxruntime.__version__,
        "default_model": ref,
        "queue": state.queue_depth(),
    }
