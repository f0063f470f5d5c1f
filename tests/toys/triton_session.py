"""What a user of the public tritonclient does over gRPC, in a process of its own.

tritonclient brings generated classes of the package ``inference`` as the server does, and one process holds one set.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np


def _client(url: str) -> Any:
    import tritonclient.grpc as triton

    return triton.InferenceServerClient(url)


def _input(tiles: np.ndarray) -> Any:
    import tritonclient.grpc as triton

    found = triton.InferInput("tiles", list(tiles.shape), "FP32")
    found.set_data_from_numpy(tiles)
    return found


def about(url: str, model: str, version: str) -> dict[str, Any]:
    with _client(url) as client:
        return {
            "live": client.is_server_live(),
            "ready": client.is_server_ready(),
            "server": client.get_server_metadata(as_json=True),
            "model": client.get_model_metadata(model, version, as_json=True),
            "model_ready": client.is_model_ready(model, version),
            "nobody_ready": client.is_model_ready("nobody"),
            "index": client.get_model_repository_index(as_json=True)["models"],
        }


def infer(
    url: str,
    model: str,
    tiles: np.ndarray,
    outputs: tuple[str, ...] = (),
    **more: Any,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    import tritonclient.grpc as triton

    wanted = [triton.InferRequestedOutput(name) for name in outputs] or None
    with _client(url) as client:
        answer = client.infer(model, [_input(tiles)], outputs=wanted, **more)
    head = answer.get_response()
    arrays = {o.name: answer.as_numpy(o.name) for o in head.outputs}
    return arrays, {"id": head.id, "model": head.model_name, "version": head.model_version, "names": list(arrays)}


def failure(url: str, model: str, tiles: np.ndarray, **more: Any) -> tuple[str, str]:
    from tritonclient.utils import InferenceServerException

    try:
        infer(url, model, tiles, **more)
    except InferenceServerException as error:
        return str(error.status()), str(error.message())
    raise AssertionError("the server answered")


def hammer(url: str, model: str, batches: list[np.ndarray], times: int) -> list[tuple[int, bytes]]:
    def ask(number: int) -> tuple[int, bytes]:
        arrays, _ = infer(url, model, batches[number % len(batches)])
        return number % len(batches), b"".join(arrays[name].tobytes() for name in sorted(arrays))

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(ask, range(times)))


def stream(url: str, model: str, batches: list[np.ndarray]) -> list[tuple[str, str | np.ndarray]]:
    """Return ("ok", mask) or ("error", message) by request, in the order of the answers."""
    import queue

    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    found: list[tuple[str, str | np.ndarray]] = []
    with _client(url) as client:
        client.start_stream(callback=lambda result, error: answers.put((result, error)))
        for batch in batches:
            client.async_stream_infer(model, [_input(batch)])
        for _ in batches:
            result, error = answers.get(timeout=60)
            found.append(("ok", result.as_numpy("mask")) if error is None else ("error", str(error.message())))
        client.stop_stream()
    return found
