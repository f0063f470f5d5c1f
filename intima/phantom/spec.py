"""What a phantom is made from, and how a set of subjects is drawn."""

import math
from dataclasses import dataclass, field, replace

import numpy as np

from intima.errors import Invalid

_COLLAPSED_SHARE = 0.15
_BARE_SHARE = 0.12


@dataclass(frozen=True, slots=True)
class Anatomy:
    """Shape of the artery. Lengths in µm, angles in radians."""

    eel_radius_um: float = 250.0
    """Radius of the circle with the area of the undisturbed external elastic lamina."""
    media_um: float = 42.0
    """Mean thickness of the media, laminae included."""
    media_eccentricity: float = 0.15
    """0: even; 1: from nothing to twice the mean."""
    neointima: float = 0.3
    """Loss of the lumen's radius as a fraction: 0 none, 0.3 half of the area, 0.8 nearly occlusive."""
    neointima_eccentricity: float = 0.5
    """0: even; above 1: absent over an arc, where lumen touches media."""
    aspect: float = 0.9
    """Short over long axis: about 0.9 open, 0.5 collapsed."""
    irregularity: float = 0.04
    """Size of the lobes of the outline relative to the radius."""
    wave_um: float = 2.5
    """Amplitude of the waves of the internal elastic lamina."""
    laminae: int = 4
    """Elastic laminae inside the media, between the two bold ones."""
    adventitia: float = 0.3
    """Breadth of the dense collagen around the wall as a fraction of the radius."""
    fat: float = 0.6
    """Fat beyond it: 0 bare glass, 1 fat everywhere."""
    center: tuple[float, float] = (0.5, 0.5)
    """Centre of the vessel as a fraction of the image, x and y."""
    rotation: float = 0.0


@dataclass(frozen=True, slots=True)
class Stain:
    """Stain and white balance; 1 is the reference palette."""

    elastin: float = 1.0
    """Optical density of elastin and nuclei."""
    muscle: float = 1.0
    """Optical density of muscle (picric yellow)."""
    collagen: float = 1.0
    """Optical density of collagen (acid fuchsin red)."""
    hue: float = 0.0
    """-1: the reds turn to orange, 1: to violet."""
    balance: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Gain of the red, green and blue channel."""


@dataclass(frozen=True, slots=True)
class Degradation:
    """What section, microscope and scanner do to the picture."""

    blur_um: float = 0.45
    """Standard deviation of the point spread."""
    resolution: float = 1.0
    """Loss of resolution: 2 means that pixels twice as large were interpolated back."""
    noise: float = 0.008
    """Standard deviation of the noise relative to white."""
    illumination: float = 0.03
    """Depth of uneven illumination relative to white."""
    tears: int = 1
    """Clefts in the tissue outside the vessel wall."""
    folds: int = 0
    """Doubled strips of tissue outside the vessel wall."""
    shadows: int = 0
    """Blurred dust over anything."""
    blood: float = 0.3
    """Erythrocytes in the lumen: 0 none, 1 many."""


@dataclass(frozen=True, slots=True)
class PhantomSpec:
    """Everything that decides a phantom; equal specs give equal bytes."""

    size_px: int = 768
    """Width and height of the image."""
    mpp: float = 1.0
    """Micrometres per pixel."""
    seed: int = 0
    """Seed of the subject's outline; shared by its sections."""
    section: int = 0
    """Seed of what differs between sections of a subject: texture, cells, small changes of the outline."""
    anatomy: Anatomy = field(default_factory=Anatomy)
    stain: Stain = field(default_factory=Stain)
    degradation: Degradation = field(default_factory=Degradation)

    def __post_init__(self) -> None:
        if not 64 <= self.size_px <= 8192:
            raise Invalid(f"Got a phantom of {self.size_px} px; need 64 to 8192.")
        if not (math.isfinite(self.mpp) and self.mpp > 0):
            raise Invalid(f"Got {self.mpp} µm per pixel; need a positive number.", code="bad_pixel_size")

    @property
    def field_um(self) -> float:
        """Side of the image in µm."""
        return self.size_px * self.mpp


@dataclass(frozen=True, slots=True)
class NamedSpec:
    """A phantom of a set, with the names of its subject and section."""

    subject: str
    section: str
    spec: PhantomSpec


@dataclass(frozen=True, slots=True)
class Shift:
    """How far a set lies from the reference; the default is no shift."""

    stain: float = 0.0
    """0: the usual variation; 1: a different laboratory."""
    blur_um: float = 0.0
    """Added to the blur."""
    resolution: float = 1.0
    """Loss of resolution, 1 or more."""


def draw_specs(
    *,
    seed: int,
    subjects: int,
    sections_per_subject: int = 1,
    size_px: int = 768,
    mpp: float = 1.0,
    shift: Shift | None = None,
) -> list[NamedSpec]:
    """Draw a set of phantoms: subjects differ in anatomy and stain, sections of a subject are alike.

    Subject k depends on ``seed`` and k only, so that a longer set begins with the shorter one. The vessel
    fills about the same part of the image at every size; cells and laminae keep their size in µm.

    Raises:
        Invalid: fewer than one subject or section.
    """
    if subjects < 1 or sections_per_subject < 1:
        raise Invalid(f"Got {subjects} subjects of {sections_per_subject} sections; need at least 1 of 1.")
    specs = []
    for subject in range(subjects):
        rng = np.random.default_rng([seed, subject])
        base = _draw_subject(rng, size_px=size_px, mpp=mpp, shift=shift or Shift())
        for section in range(sections_per_subject):
            spec = _draw_section(base, np.random.default_rng([seed, subject, section, 1]))
            specs.append(NamedSpec(f"subject-{subject + 1:02d}", f"section-{section + 1}", spec))
    return specs


def _draw_subject(rng: np.random.Generator, *, size_px: int, mpp: float, shift: Shift) -> PhantomSpec:
    return PhantomSpec(
        size_px=size_px,
        mpp=mpp,
        seed=int(rng.integers(2**31)),
        anatomy=_draw_anatomy(rng, size_px * mpp),
        stain=_draw_stain(rng, shift.stain),
        degradation=Degradation(
            blur_um=rng.uniform(0.3, 0.7) * max(1.0, mpp) + shift.blur_um,
            resolution=shift.resolution,
            noise=rng.uniform(0.004, 0.012),
            illumination=rng.uniform(0.0, 0.06),
            blood=float(rng.beta(1.0, 2.5)),
        ),
    )


def _draw_anatomy(rng: np.random.Generator, field_um: float) -> Anatomy:
    collapsed, bare = rng.random() < _COLLAPSED_SHARE, rng.random() < _BARE_SHARE
    aspect = rng.uniform(0.5, 0.68) if collapsed else rng.uniform(0.8, 0.99)
    radius = field_um * min(rng.uniform(0.29, 0.36), 0.385 * math.sqrt(aspect))
    media_um = radius * rng.uniform(0.12, 0.24)
    return Anatomy(
        eel_radius_um=radius,
        media_um=media_um,
        media_eccentricity=rng.uniform(0.05, 0.35),
        neointima=0.0 if bare else rng.uniform(0.05, 0.4 if collapsed else 0.65),
        neointima_eccentricity=rng.uniform(0.1, 1.15),
        aspect=aspect,
        irregularity=rng.uniform(0.02, 0.06),
        wave_um=min(rng.uniform(1.0, 4.5) * (1.5 if collapsed else 1.0), 0.1 * media_um),
        laminae=int(rng.integers(3, 8)),
        adventitia=rng.uniform(0.18, 0.38),
        fat=rng.uniform(0.1, 1.0),
        rotation=rng.uniform(0.0, math.tau),
    )


def _draw_stain(rng: np.random.Generator, shift: float) -> Stain:
    spread = 0.12 + 0.2 * shift
    gains = rng.normal(1.0, 0.012 + 0.03 * shift, size=3)
    return Stain(
        elastin=float(np.exp(rng.normal(-0.25 * shift, 0.5 * spread))),
        muscle=float(np.exp(rng.normal(0.3 * shift, spread))),
        collagen=float(np.exp(rng.normal(-0.35 * shift, spread))),
        hue=float(np.clip(rng.normal(0.6 * shift, 0.3), -1.0, 1.0)),
        balance=(float(gains[0]), float(gains[1]), float(gains[2])),
    )


def _draw_section(base: PhantomSpec, rng: np.random.Generator) -> PhantomSpec:
    """Change what changes from section to section: place, turn, a little anatomy and stain, and damage."""
    old, stain = base.anatomy, base.stain
    anatomy = replace(
        old,
        neointima=old.neointima * rng.uniform(0.92, 1.08),
        media_um=old.media_um * rng.uniform(0.96, 1.04),
        center=(rng.uniform(0.46, 0.54), rng.uniform(0.46, 0.54)),
        rotation=old.rotation + rng.uniform(-0.3, 0.3),
    )
    damage = replace(
        base.degradation,
        tears=int(rng.integers(0, 4)),
        folds=int(rng.random() < 0.2),
        shadows=int(rng.random() < 0.25),
    )
    factors = np.exp(rng.normal(0.0, 0.03, size=3))
    return replace(
        base,
        section=int(rng.integers(2**31)),
        anatomy=anatomy,
        degradation=damage,
        stain=replace(
            stain,
            elastin=stain.elastin * factors[0],
            muscle=stain.muscle * factors[1],
            collagen=stain.collagen * factors[2],
        ),
    )
