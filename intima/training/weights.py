"""Keep the weights of a trained net as one safetensors file, without what training has not touched.

A tensor is left out where it is a parameter that was not trained, or belongs to a frozen encoder: both follow from
the net's spec and seed. The file names the seed and the SHA-256 of what was left out, so that a net is never put
together from other pretrained weights than those it was trained with.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from intima.architectures.build import build_bare, build_net
from intima.architectures.net import SegmentationNet
from intima.architectures.sources import find_weights
from intima.arrays import Json
from intima.contracts.benchmark import ArchitectureSpec, EncoderStart, ParameterValue
from intima.errors import Invalid

_NOTE = "intima"
_FROZEN = "body.encoder."


def pack_weights(net: SegmentationNet, *, seed: int, encoder_seed: int | None = None) -> bytes:
    """Return the trained tensors of a net as safetensors; equal nets give equal bytes.

    Args:
        net: trained, on the CPU.
        seed: what the net was built with.
        encoder_seed: what its encoder was built with, where that is another.
    """
    state = net.state_dict()
    untrained = _untrained(net)
    fingerprint = _fingerprint({name: state[name] for name in untrained})
    note = {"seed": seed, "encoder_seed": encoder_seed, "untrained_sha256": fingerprint}
    kept = {name: tensor.contiguous() for name, tensor in state.items() if name not in untrained}
    return save_tensors(kept, metadata={_NOTE: json.dumps(note, sort_keys=True)})


def restore_net(
    data: bytes,
    spec: ArchitectureSpec,
    *,
    classes: int,
    parameters: Mapping[str, ParameterValue],
    weights_folder: Path | None,
    start: EncoderStart | None = None,
) -> SegmentationNet:
    """Return the net that ``pack_weights`` was given, in evaluation mode; ``start`` is what its encoder started from.

    Raises:
        Invalid: the file is of another net, or the pretrained weights it stands on are not the same any more.
    """
    kept, note = load_tensors(data), _note_of(data)
    expected = note["untrained_sha256"]
    if expected is None:
        net = build_bare(spec, classes=classes, parameters=parameters)
    else:
        weights = find_weights(spec, folder=weights_folder, start=start)
        net = build_net(
            spec,
            classes=classes,
            parameters=parameters,
            seed=note["seed"],
            weights=weights,
            encoder_seed=note.get("encoder_seed"),
        )
    state = net.state_dict()
    untrained = {name: tensor for name, tensor in state.items() if name not in kept}
    if not kept.keys() <= state.keys() or any(kept[name].shape != state[name].shape for name in kept):
        raise Invalid(f"The stored weights do not fit {spec.name} with encoder {spec.encoder}.", code="bad_weights")
    if _fingerprint(untrained) != expected:
        raise Invalid(
            f"The pretrained weights of {spec.name} are not those this net was trained on.",
            code="bad_weights",
            hint="Put the file back that was there when the benchmark ran, or run the benchmark again.",
        )
    net.load_state_dict({**state, **kept})
    return net.eval()


def _untrained(net: SegmentationNet) -> frozenset[str]:
    left_out = {name for name, parameter in net.named_parameters() if not parameter.requires_grad}
    if net.frozen_encoder:
        left_out |= {name for name in net.state_dict() if name.startswith(_FROZEN)}
    return frozenset(left_out)


def _fingerprint(tensors: Mapping[str, Tensor]) -> str | None:
    """Return the SHA-256 of names and values; null of none."""
    if not tensors:
        return None
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode() + b"\0")
        digest.update(tensors[name].contiguous().flatten().numpy().tobytes())
    return digest.hexdigest()


def _note_of(data: bytes) -> Json:
    """Read seeds and SHA-256 in the header: eight bytes of length, then JSON."""
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    note: Json = json.loads(header["__metadata__"][_NOTE])
    return note
