"""Multipart forms with one large file: parsed as they come, the file straight into where the store will keep it.

The events are python-multipart's, which Starlette's own form parser takes too; that one writes the file to a place of
its own, from which it would have to be copied and hashed. Texts, names and refusals are as Starlette gives them.
"""

import codecs
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fastapi import Request, UploadFile
from fastapi.concurrency import contextmanager_in_threadpool
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from intima.errors import Invalid
from intima.store.blobs import Blobs
from intima.store.incoming import Incoming, Piece
from services.api.writing import Writer, writing

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

FILE = "file"
"""The part whose bytes are kept; those of other files are dropped."""
MOST_PARTS = 1000
MOST_TEXT_BYTES = 2**20
"""Of all texts together: they are held in memory."""


class ReceivedFile(UploadFile):
    """The file of a form, on disk in the store and not kept yet."""

    def __init__(self, incoming: Incoming, *, filename: str) -> None:
        super().__init__(incoming.path.open("rb"), size=incoming.size, filename=filename)
        self.incoming = incoming


def is_multipart(content_type: str) -> bool:
    """Tell whether a header names a form that may have a file."""
    return parse_options_header(content_type)[0] == b"multipart/form-data"


@asynccontextmanager
async def receive_form(request: Request, blobs: Blobs) -> AsyncIterator[FormData]:
    """Read the form of a request; its file is gone at the end unless it is kept.

    Raises:
        StorageFull: the store has no room for what is announced, or for what comes.
        Invalid: a part is named twice.
        HTTPException: 400 where this is no form, 408 and 413 from the limits on bodies.
    """
    announced = request.headers.get("content-length", "")
    expected_bytes = int(announced) if announced.isdecimal() else 0
    async with contextmanager_in_threadpool(blobs.receiving(expected_bytes=expected_bytes)) as incoming:
        parts = _Parts()
        parser = _parser(request.headers["content-type"], parts)
        async with writing(incoming.write) as writer:
            await _read(request, parser, parts, writer)
        form = parts.form(incoming)
        try:
            yield form
        finally:
            await form.close()


async def _read(request: Request, parser: MultipartParser, parts: "_Parts", writer: Writer) -> None:
    try:
        async for chunk in request.stream():
            parser.write(chunk)
            await writer.take(parts.pieces)
    except FormParserError as error:
        raise _malformed("Invalid multipart data.") from error
    except ClientDisconnect as error:
        raise _malformed("The client left before its request was whole.") from error
    if not parts.ended:
        raise _malformed("The form ends before its closing boundary.")
    await writer.finish()


def _parser(content_type: str, parts: "_Parts") -> MultipartParser:
    """Return a parser that tells ``parts`` what it finds. Raises HTTPException where no boundary can be used."""
    options = parse_options_header(content_type)[1]
    if not options.get(b"boundary"):
        raise _malformed("Missing boundary in multipart.")
    parts.charset = _known_charset(options.get(b"charset", b"utf-8").decode("latin-1"))
    callbacks: MultipartCallbacks = {
        "on_part_begin": parts.begin,
        "on_header_field": parts.header_name,
        "on_header_value": parts.header_value,
        "on_header_end": parts.header_end,
        "on_headers_finished": parts.headers_end,
        "on_part_data": parts.data,
        "on_part_end": parts.end,
        "on_end": parts.end_form,
    }
    try:
        return MultipartParser(options[b"boundary"], callbacks)
    except FormParserError as error:
        raise _malformed("Invalid multipart data.") from error


def _known_charset(name: str) -> str:
    try:
        return codecs.lookup(name).name
    except LookupError:
        return "latin-1"


def _malformed(detail: str) -> HTTPException:
    return HTTPException(400, detail)


@dataclass(slots=True)
class _Parts:
    """What a form has shown so far: whole texts, and pieces of the file that nobody has taken yet."""

    charset: str = "utf-8"
    pieces: list[Piece] = field(default_factory=list)
    ended: bool = False
    _items: list[tuple[str, str | None]] = field(default_factory=list)
    """Name and text of each part that has ended; None stands for a file."""
    _file_name: str = ""
    _names: set[str] = field(default_factory=set)
    _text_bytes: int = 0
    _header: tuple[bytearray, bytearray] = field(default_factory=lambda: (bytearray(), bytearray()))
    _disposition: bytes = b""
    _name: str = ""
    _text: bytearray | None = None
    """Null while a file comes."""

    def begin(self) -> None:
        """Start a part."""
        self._disposition, self._text = b"", None
        if len(self._names) == MOST_PARTS:
            raise _malformed(f"Too many parts. Maximum number of parts is {MOST_PARTS}.")

    def header_name(self, data: bytes, start: int, end: int) -> None:
        """Take a piece of the name of a header."""
        self._header[0].extend(data[start:end])

    def header_value(self, data: bytes, start: int, end: int) -> None:
        """Take a piece of the value of a header."""
        self._header[1].extend(data[start:end])

    def header_end(self) -> None:
        """Keep the one header that says what a part is."""
        name, value = self._header
        if name.lower() == b"content-disposition":
            self._disposition = bytes(value)
        name.clear()
        value.clear()

    def headers_end(self) -> None:
        """Learn name and kind of the part whose content comes now."""
        options = parse_options_header(self._disposition)[1]
        if b"name" not in options:
            raise _malformed('The Content-Disposition header field "name" must be provided.')
        self._name = self._decode(options[b"name"])
        if self._name in self._names:
            shown = self._name[:100]
            raise Invalid(f"The form has more than one part {shown!r}.", code="repeated_part", pointer=f"/{shown}")
        self._names.add(self._name)
        self._text = None if b"filename" in options else bytearray()
        if self._name == FILE and self._text is None:
            self._file_name = self._decode(options[b"filename"])

    def data(self, data: bytes, start: int, end: int) -> None:
        """Take a piece of a part."""
        if self._text is None:
            if self._name == FILE:
                self.pieces.append(memoryview(data)[start:end])
            return
        self._text_bytes += end - start
        if self._text_bytes > MOST_TEXT_BYTES:
            raise _malformed(f"Part exceeded maximum size of {MOST_TEXT_BYTES // 1024}KB.")
        self._text += data[start:end]

    def end(self) -> None:
        """End a part."""
        self._items.append((self._name, None if self._text is None else self._decode(self._text)))

    def end_form(self) -> None:
        """Know that nothing is missing."""
        self.ended = True

    def form(self, incoming: Incoming) -> FormData:
        """Return the form, with the file that was written meanwhile."""
        return FormData([(name, self._file(name, incoming) if text is None else text) for name, text in self._items])

    def _file(self, name: str, incoming: Incoming) -> UploadFile:
        if name == FILE:
            return ReceivedFile(incoming, filename=self._file_name)
        return UploadFile(io.BytesIO(), filename="")

    def _decode(self, text: bytes | bytearray) -> str:
        try:
            return text.decode(self.charset)
        except (UnicodeError, LookupError):
            return text.decode("latin-1")
