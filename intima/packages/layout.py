"""What lies in a package, under which name, and the two texts that explain and prove it."""

from collections.abc import Mapping

from intima.contracts.model import MemberFile, ModelCard
from intima.store.models import model_version

CARD = "card.json"
README = "README.md"
SUMS = "SHA256SUMS"


def member_names(card: ModelCard) -> dict[str, MemberFile]:
    """Return the name in the zip of every network of every variant."""
    return {
        f"member-{number}-{precision}.onnx": file
        for precision in card.precisions
        for number, file in enumerate(card.files(precision))
    }


def card_json(card: ModelCard) -> bytes:
    """Return the card as it lies in a package: a package of an imported model is the package it came in."""
    return (card.model_copy(update={"imported": False}).model_dump_json(indent=1, by_alias=True) + "\n").encode()


def sums_text(hashes: Mapping[str, str]) -> bytes:
    """Return what ``sha256sum --check`` reads, sorted by name."""
    return "".join(f"{hashes[name]}  {name}\n" for name in sorted(hashes)).encode()


def readme_text(card: ModelCard) -> bytes:
    """Return what the model is, under which licence, and how to run it without Intima."""
    scale = (
        f"{card.mpp:g} µm per pixel" if card.mpp is not None else f"{card.pixel_scale:g} times the slide's resolution"
    )
    classes = "\n".join(f"- {c.index}: {c.name}" for c in sorted(card.classes, key=lambda c: c.index))
    return _README.format(
        name=card.name,
        version=model_version(card),
        architecture=card.architecture.name,
        encoder=card.architecture.encoder,
        members=len(card.members),
        precisions=", ".join(card.precisions),
        dataset=card.dataset,
        synthetic=" The images are synthetic." if card.synthetic else "",
        dataset_licence=card.dataset_licence,
        weights=card.encoder_weights,
        weights_licence=card.weights_licence,
        scale=scale,
        tile=card.tile_px,
        classes=classes,
        first=next(iter(member_names(card))),
    ).encode()


_README = """# {name}@{version}

{architecture} with encoder {encoder}, {members} member(s), as {precisions}. Trained on "{dataset}".{synthetic}

## Licence

- Training images: {dataset_licence}
- Pretrained weights of the encoder: {weights_licence} ({weights})

Both bind what is derived from them: these networks.

## Run with plain ONNX Runtime

Input `tiles`: (n, 3, height, width) float32, RGB in 0..1, at {scale}; {tile} px is the tile the model was scored with.
Output `logits`: (n, classes, height, width). Classes:

{classes}

```python
import numpy as np
import onnxruntime
from PIL import Image

net = onnxruntime.InferenceSession("{first}", providers=["CPUExecutionProvider"])
image = np.asarray(Image.open("tile.png").convert("RGB"), np.float32) / 255
logits = net.run(["logits"], {{"tiles": image.transpose(2, 0, 1)[None]}})[0]
mask = logits[0].argmax(0)
```

Several members: average their softmax before the argmax. `card.json` has scores, parity and cost; `sha256sum --check
SHA256SUMS` checks the files. `POST /v1/models` of an Intima takes the zip as it is.
"""
