"""Multipart forms read as they come: any cut of a body is read as Starlette's parser reads the whole."""

import asyncio
import errno
import hashlib
import os
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import pytest
from fastapi import Request
from fastapi.concurrency import contextmanager_in_threadpool
from fastapi.testclient import TestClient
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.datastructures import Headers, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartParser
from starlette.types import Message

from intima.errors import IntimaError, Invalid
from intima.store import incoming
from intima.store.blobs import LocalBlobs
from intima.store.incoming import StorageFull
from services.api.forms import MOST_PARTS, MOST_TEXT_BYTES, ReceivedFile, is_multipart, receive_form
from services.api.uploads import spooled
from services.api.writing import BATCH_BYTES, writing

EDGE = "edge-7"
TYPE = f"multipart/form-data; boundary={EDGE}"
Item = tuple[str, str | tuple[str, bytes]]
"""A name with a text, or with a file name and a content."""


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(tmp_path, floor_bytes=0)


def part(name: str, content: bytes, *, filename: str | None = None) -> bytes:
    head = f'Content-Disposition: form-data; name="{name}"'
    head += "" if filename is None else f'; filename="{filename}"\r\nContent-Type: application/octet-stream'
    return f"--{EDGE}\r\n{head}\r\n\r\n".encode() + content + b"\r\n"


def whole(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{EDGE}--\r\n".encode()


def cut(body: bytes, places: Sequence[int]) -> list[bytes]:
    bounds = [0, *sorted(p % (len(body) + 1) for p in places), len(body)]
    return [body[a:b] for a, b in pairwise(bounds)]


def asked(chunks: Sequence[bytes], content_type: str, *, leaves: bool = False, announced: str | None = None) -> Request:
    """Return a request whose body comes in these chunks; a client that leaves does so after the last."""
    messages: Iterator[Message] = iter(
        [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
        + [{"type": "http.disconnect"} if leaves else {"type": "http.request", "body": b"", "more_body": False}]
    )

    async def receive() -> Message:
        return next(messages)

    headers = [(b"content-type", content_type.encode("latin-1"))]
    headers += [] if announced is None else [(b"content-length", announced.encode())]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive)


async def _read(blobs: LocalBlobs, request: Request) -> tuple[list[Item], str | None]:
    items: list[Item] = []
    name = None
    async with receive_form(request, blobs) as form:
        for key, value in form.multi_items():
            if isinstance(value, ReceivedFile):
                data = await value.read()
                assert value.incoming.path.read_bytes() == data
                assert value.size == len(data)
                items.append((key, (value.filename or "", data)))
                name = value.incoming.keep()
            else:
                items.append((key, value if isinstance(value, str) else (value.filename or "", value.file.read())))
    return items, name


def read(blobs: LocalBlobs, chunks: Sequence[bytes], content_type: str = TYPE) -> tuple[list[Item], str | None]:
    """Return the parts in order, and the blob the file became."""
    return asyncio.run(_read(blobs, asked(chunks, content_type)))


def read_by_starlette(body: bytes, content_type: str = TYPE) -> list[Item]:
    async def parse() -> list[Item]:
        async def stream() -> AsyncIterator[bytes]:
            yield body

        form = await MultiPartParser(Headers({"content-type": content_type}), stream()).parse()  # type: ignore[arg-type]
        items: list[Item] = []
        for key, value in form.multi_items():
            is_file = isinstance(value, UploadFile)
            items.append((key, (value.filename or "", await value.read()) if is_file else value))  # type: ignore[union-attr,arg-type]
        await form.close()
        return items

    return asyncio.run(parse())


def left(blobs: LocalBlobs) -> list[str]:
    return sorted(p.name for p in blobs.root.rglob("*") if p.is_file())


NEARLY = [
    b"\r",
    b"\n",
    b"\r\n",
    b"-",
    b"--",
    b"\r\n--",
    b"\r\n--edge",
    b"\r\n--edge-",
    b"\r\n--edge-7x",
    b"\r\n--edge-7-",
]
content = st.lists(st.one_of(st.binary(max_size=40), st.sampled_from(NEARLY)), max_size=30).map(b"".join)


@given(
    data=content,
    subject=st.text(st.characters(blacklist_categories=["Cs"]), max_size=30),
    places=st.lists(st.integers(0, 5000), max_size=60),
    file_first=st.booleans(),
)
@example(data=b"", subject="", places=[], file_first=True)
@example(data=b"\r\n--edge-7" + b"\r", subject="m", places=list(range(200)), file_first=False)
def test_any_cut_gives_what_starlettes_parser_gives(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, subject: str, places: list[int], file_first: bool
) -> None:
    blobs = LocalBlobs(tmp_path_factory.mktemp("blobs"), floor_bytes=0)
    parts = [part("file", data, filename="a.svs"), part("subject", subject.encode())]
    body = whole(*(parts if file_first else reversed(parts)))
    try:
        expected = read_by_starlette(body)
    except Exception:  # noqa: BLE001 - the content holds a whole boundary
        with pytest.raises((HTTPException, IntimaError)):
            read(blobs, cut(body, places))
        assert left(blobs) == []
        return
    if len({name for name, _ in expected}) < len(expected):
        return
    items, name = read(blobs, cut(body, places))
    assert items == expected
    assert name == hashlib.sha256(dict(expected)["file"][1]).hexdigest()  # type: ignore[arg-type]
    assert left(blobs) == [name]


@pytest.mark.parametrize("size", [1, 2**20 - 1, 2**20, 2**20 + 1, 5 * 2**20 + 3])
@pytest.mark.parametrize("step", [997, 65536, 3 * 2**20])
def test_large_files_come_in_batches(blobs: LocalBlobs, size: int, step: int) -> None:
    data = os.urandom(size)
    body = whole(part("mpp", b"0.5"), part("file", data, filename="a"), part("subject", b"m1"))
    items, name = read(blobs, [body[n : n + step] for n in range(0, len(body), step)])
    assert items == [("mpp", "0.5"), ("file", ("a", data)), ("subject", "m1")]
    assert blobs.read(str(name)) == data


def test_every_body_that_breaks_off_is_refused_and_forgotten(blobs: LocalBlobs) -> None:
    body = whole(part("subject", b"m1"), part("file", b"slide" * 9, filename="a.svs"))
    for end in range(len(body) - 2):
        with pytest.raises(HTTPException) as caught:
            read(blobs, [body[:end]])
        assert caught.value.status_code == 400, end
        assert left(blobs) == []
    assert read(blobs, [body[:-2]]) == read(blobs, [body]) == read(blobs, [body + b"epilogue"])


@pytest.mark.parametrize(
    ("content_type", "body", "detail"),
    [
        ("multipart/form-data", whole(part("a", b"b")), "Missing boundary"),
        ("multipart/form-data; boundary=", whole(part("a", b"b")), "Missing boundary"),
        (f"multipart/form-data; boundary={'x' * 3000}", b"", "Invalid multipart data"),
        (TYPE, b"not a form", "Invalid multipart data"),
        (TYPE, b"--edge-8\r\n\r\n--edge-8--\r\n", "Invalid multipart data"),
        (TYPE, f"--{EDGE}\r\n: x\r\n\r\n\r\n--{EDGE}--".encode(), "Invalid multipart data"),
        (TYPE, f"--{EDGE}\r\nX-Y: z\r\n\r\nv\r\n--{EDGE}--".encode(), 'field "name" must be provided'),
        (TYPE, f"--{EDGE}\r\nContent-Disposition: {'x' * 99999}".encode(), "Invalid multipart data"),
        (TYPE, f"--{EDGE}\r\n{'A: b' * 99}".encode(), "ends before its closing boundary"),
        (TYPE, b"--" + EDGE.encode() + b"\r\n" + b"A: b\r\n" * 999, "Invalid multipart data"),
        (TYPE, b"", "ends before its closing boundary"),
        (TYPE, b"\r\n" * 9999, "ends before its closing boundary"),
        (TYPE, whole(part("subject", b"x" * (MOST_TEXT_BYTES + 1))), "maximum size of 1024KB"),
        (TYPE, whole(*[part(f"t{n}", b"x" * 2**18) for n in range(5)]), "maximum size of 1024KB"),
        (TYPE, whole(*[part(f"t{n}", b"") for n in range(MOST_PARTS + 1)]), "Too many parts"),
    ],
)
def test_what_is_no_form_is_refused(blobs: LocalBlobs, content_type: str, body: bytes, detail: str) -> None:
    for chunks in ([body], [body[n : n + 1000] for n in range(0, len(body), 1000)]):
        with pytest.raises(HTTPException, match=detail) as caught:
            read(blobs, chunks, content_type)
        assert caught.value.status_code == 400
        assert left(blobs) == []


@pytest.mark.parametrize("name", ["file", "subject", "other"])
def test_a_part_named_twice_is_refused(blobs: LocalBlobs, name: str) -> None:
    first, second = part(name, b"one", filename="a.svs" if name == "file" else None), part(name, b"two", filename="b")
    with pytest.raises(Invalid, match=f"more than one part '{name}'") as caught:
        read(blobs, [whole(first, second)])
    assert (caught.value.code, caught.value.pointer) == ("repeated_part", f"/{name}")
    assert left(blobs) == []


@pytest.mark.parametrize(
    ("disposition", "filename"),
    [
        ('filename="naïve müßig 組織.svs"'.encode(), "naïve müßig 組織.svs"),
        ('filename="müßig.svs"'.encode("latin-1"), "müßig.svs"),
        (b"filename=\"plain.svs\"; filename*=UTF-8''other.svs", "plain.svs"),
        (b'filename="C:\\\\scans\\\\a.svs"', "a.svs"),
        (b'filename="../../etc/passwd"', "passwd"),
        (b'filename="say \\"hi\\".svs"', 'say "hi".svs'),
        (b'filename=""', "upload"),
        (b"filename=bare.svs", "bare.svs"),
        (b'filename="' + b"x" * 2000 + b'"', "x" * 200),
    ],
)
def test_file_names_come_as_sent_and_are_no_paths(blobs: LocalBlobs, disposition: bytes, filename: str) -> None:
    head = f'--{EDGE}\r\nContent-Disposition: form-data; name="file"; '.encode() + disposition
    body = head + f"\r\n\r\nx\r\n--{EDGE}--\r\n".encode()

    async def name() -> str:
        async with receive_form(asked([body], TYPE), blobs) as form:
            file = form["file"]
            assert isinstance(file, UploadFile)
            return spooled(file).name

    assert asyncio.run(name()) == filename
    assert left(blobs) == []


def test_a_name_in_the_extended_syntax_alone_is_no_file(blobs: LocalBlobs) -> None:
    """RFC 7578 section 4.2 forbids it; python-multipart ignores it."""
    head = f"--{EDGE}\r\nContent-Disposition: form-data; name=\"file\"; filename*=UTF-8''a.svs\r\n\r\n"
    assert read(blobs, [head.encode() + f"x\r\n--{EDGE}--".encode()]) == ([("file", "x")], None)


@pytest.mark.parametrize(
    ("charset", "expected"), [("utf-8", "µ"), ("latin-1", "Âµ"), ("no-such", "Âµ"), ("utf-16", "뗂")]
)
def test_texts_are_in_the_charset_of_the_form(blobs: LocalBlobs, charset: str, expected: str) -> None:
    content_type = f"{TYPE}; charset={charset}"
    body = whole(part("subject", "µ".encode()))
    if charset != "utf-16":
        assert read_by_starlette(body, content_type) == [("subject", expected)]
    assert read(blobs, [body], content_type)[0] == [("subject", expected)]


def test_bytes_of_other_files_are_dropped(blobs: LocalBlobs) -> None:
    items, name = read(blobs, [whole(part("label", b"x" * 999, filename="b"), part("file", b"y", filename="a"))])
    assert items == [("label", ("", b"")), ("file", ("a", b"y"))]
    assert left(blobs) == [name]


def test_a_client_that_leaves_leaves_nothing(blobs: LocalBlobs) -> None:
    body = whole(part("file", os.urandom(3 * 2**20), filename="a"))
    for end in (0, 100, 2**20, len(body) - 9):
        request = asked(cut(body[:end], [2**16, 2**20]), TYPE, leaves=True)
        with pytest.raises(HTTPException, match="The client left"):
            asyncio.run(_read(blobs, request))
        assert left(blobs) == []


def test_no_room_is_said_before_anything_is_read(tmp_path: Path) -> None:
    def never() -> Iterator[bytes]:
        pytest.fail("was read")
        yield b""

    blobs = LocalBlobs(tmp_path, floor_bytes=0)
    request = asked([], TYPE, announced=str(2**60))
    request._receive = never  # type: ignore[assignment]
    with pytest.raises(StorageFull):
        asyncio.run(_read(blobs, request))
    assert left(blobs) == []


@pytest.mark.parametrize("announced", [None, "", "-5", "1e3", "٣", "x"])
def test_a_length_that_is_none_is_not_believed(blobs: LocalBlobs, announced: str | None) -> None:
    request = asked([whole(part("file", b"y", filename="a"))], TYPE)
    if announced is not None:
        headers = [*request.scope["headers"], (b"content-length", announced.encode())]
        request = Request({**request.scope, "headers": headers}, request.receive)
    assert asyncio.run(_read(blobs, request))[0] == [("file", ("a", b"y"))]


@pytest.mark.parametrize("then", [b"", b"\r\n--edge-7\r\n: bad\r\n\r\n"])
def test_a_volume_that_fills_up_ends_the_upload(
    blobs: LocalBlobs, monkeypatch: pytest.MonkeyPatch, then: bytes
) -> None:
    """Also where the form is malformed behind what could not be written: one of both is said, nothing stays."""

    def full(_descriptor: int, _pieces: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("intima.store.incoming.os.writev", full)
    body = part("file", bytes(2**20), filename="a")[:-2] + then
    with pytest.raises(HTTPException if then else StorageFull):
        read(blobs, [body, b"\r\n" + whole(part("subject", b"m"))] if not then else [body[: 2**20], body[2**20 :]])
    assert left(blobs) == []


@pytest.mark.parametrize(
    ("content_type", "is_one"),
    [
        (TYPE, True),
        ("Multipart/Form-Data; boundary=x", True),
        ("multipart/form-data", True),
        ("multipart/mixed; boundary=x", False),
        ("application/x-www-form-urlencoded", False),
        ("application/json", False),
        ("", False),
    ],
)
def test_what_is_multipart(content_type: str, is_one: bool) -> None:
    assert is_multipart(content_type) is is_one


def test_who_reads_the_file_reads_what_was_sent(blobs: LocalBlobs) -> None:
    async def seen() -> bytes:
        async with receive_form(asked([whole(part("file", b"slide", filename="a"))], TYPE), blobs) as form:
            file = form["file"]
            assert isinstance(file, ReceivedFile)
            out = BytesIO(await file.read())
            assert file.incoming.keep() == hashlib.sha256(b"slide").hexdigest()
            await file.seek(0)
            assert await file.read() == out.getvalue()
            return out.getvalue()

    assert asyncio.run(seen()) == b"slide"


def test_a_cancelled_upload_writes_into_nobody_elses_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow write goes on after its request is cancelled: its file must stay open until it has ended."""
    honest = incoming._write_all

    def slow(descriptor: int, pieces: Sequence[incoming.Piece]) -> None:
        time.sleep(0.3)
        honest(descriptor, pieces)

    monkeypatch.setattr(incoming, "_write_all", slow)
    blobs, victim = LocalBlobs(tmp_path, floor_bytes=0), tmp_path / "victim"

    async def upload() -> None:
        async with contextmanager_in_threadpool(blobs.receiving()) as opened, writing(opened.write) as writer:
            for _ in range(2):
                await writer.take([b"U" * BATCH_BYTES])

    async def cancel_in_the_middle() -> None:
        task = asyncio.create_task(upload())
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with victim.open("xb"):
            await asyncio.sleep(0.5)

    asyncio.run(cancel_in_the_middle())
    assert victim.stat().st_size == 0
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [victim]


def test_a_charset_nobody_can_decode_with_is_no_defect(client: TestClient) -> None:
    body = b'--B\r\nContent-Disposition: form-data; name="subject"\r\n\r\nx\xff\r\n--B--\r\n'
    for charset in ("undefined", "idna", "punycode"):
        headers = {"Content-Type": f"multipart/form-data; boundary=B; charset={charset}"}
        assert client.post("/v1/slides", content=body, headers=headers).status_code == 422
