"""What runs inside the child that tries networks: limits, the gate, then one run of ONNX Runtime for each."""

import json
import logging
import os
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from intima.arrays import Json
from intima.confined import Limits, allow_cpu, apply_limits
from intima.errors import IntimaError, Invalid
from intima.inference import draws_at_once, load_onnx
from intima.packages.gate import check_network
from intima.uncertainty import MOST_PASSES, draw_masks


def work(sender: Connection, arguments: Json, limits: Limits) -> None:
    """Try every file and answer each; the working directory is empty, so a relative path finds nothing."""
    apply_limits(limits)
    logging.disable(logging.CRITICAL)
    os.chdir(arguments["empty"])
    with sender:
        for path in arguments["paths"]:
            allow_cpu(limits.cpu_s)
            sender.send_bytes(json.dumps(_try(Path(path), arguments)).encode())


def _try(path: Path, arguments: Json) -> Json:
    try:
        _run(path.read_bytes(), arguments)
    except IntimaError as error:
        return {"error": {"message": error.message, "code": error.code}}
    return {}


def _run(data: bytes, arguments: Json) -> None:
    classes, tile_px, rate = arguments["classes"], arguments["tile_px"], arguments["dropout_rate"]
    check_network(data, classes=classes)
    try:
        net, tile = load_onnx(data), np.random.default_rng(0).random((1, 3, tile_px, tile_px), np.float32)
        logits = net.predict(tile)
        if net.dropout:
            draws = range(1, 1 + min(MOST_PASSES, draws_at_once(height=tile_px, width=tile_px)))
            net.predict_drawn(tile, draw_masks(net.dropout, seed=0, member=0, draws=draws))
    except IntimaError:
        raise
    except Exception as error:  # ONNX Runtime's exception types share no other base
        raise Invalid(f"ONNX Runtime cannot run the network: {str(error)[:300]}", code="bad_model") from error
    wanted = (1, classes, tile_px, tile_px)
    if logits.shape != wanted or not np.isfinite(logits).all():
        raise Invalid(f"Got logits of shape {logits.shape} for a tile; need finite {wanted}.", code="bad_model")
    if net.dropout_rate != rate:
        raise Invalid(f"Got masks of dropout at a rate of {net.dropout_rate}; the card says {rate}.", code="bad_model")
