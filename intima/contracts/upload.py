"""Uploads that may stop and go on: what is said of one at its start, and what it looks like on the way."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, StringConstraints

from intima.contracts._base import Contract
from intima.contracts.dataset import PixelSize, Sha256

UploadState: TypeAlias = Literal["receiving", "received", "stored"]
"""receiving: bytes are missing. received: all are there. stored: they are a slide."""


Subject: TypeAlias = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]


class SlideChoices(Contract):
    """What is said about a file beside its bytes; null where nothing is."""

    mpp: PixelSize | None = None
    """µm per pixel; overrides what the file says."""
    subject: Subject | None = None
    deidentify: bool = False
    """Store a copy without label, further images and identifying fields, and not the file itself."""
    sha256: Sha256 | None = None
    """Of the whole file; another one is refused at the end."""


class SlideChange(Contract):
    """What is to be changed of a stored slide; what is left out stays."""

    mpp: PixelSize | None = None
    """µm per pixel; null: what the file says."""
    subject: Subject | None = None


class IntendedSlide(Contract):
    """A slide that is about to be made of an upload; whoever goes on after a kill finds it by its id."""

    id: str
    choices: SlideChoices
    """As they are in force, with the SHA-256 of what arrived."""


class UploadRecord(Contract):
    """What is kept beside the bytes of an upload."""

    id: str
    owner: str
    """Who made it: nobody else sees it."""
    length: int = Field(ge=1)
    """Bytes of the whole file."""
    name: str
    metadata: str
    """Upload-Metadata as it came."""
    choices: SlideChoices
    """Of its beginning; of the slide once there is one."""
    keep_s: float = Field(gt=0)
    """How long after its last byte it is forgotten."""
    intended: IntendedSlide | None = None
    slide: str | None = None
    """What it became; its own bytes are gone then."""


class UploadView(Contract):
    """An upload as its owner sees it."""

    id: str
    name: str
    length: int
    offset: int
    """Bytes that are there, from the start of the file."""
    state: UploadState
    choices: SlideChoices
    expires_at: str
    slide: str | None
