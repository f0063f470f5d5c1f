"""The real local stack, one for all processes of a test run, and what is made on it once."""

import fcntl
import json
import random
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from services.local import LocalStack, Settings

FINAL = {"succeeded", "failed", "canceled"}


@dataclass(frozen=True, slots=True)
class Stack:
    """A running stack: its address, a client of it, and what was already made on it."""

    url: str
    folder: Path
    api: httpx.Client

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """Return what ``make`` returned (JSON) for the first who asked, in whatever process."""
        kept = self.folder / f"{name}.json"
        with _locked(self.folder / f"{name}.lock"):
            if not kept.exists():
                kept.write_text(json.dumps(make()))
            return json.loads(kept.read_text())

    def get(self, path: str) -> Any:
        return self.api.get(path).raise_for_status().json()

    def post(self, path: str, body: object) -> Any:
        return self.api.post(path, json=body).raise_for_status().json()

    def upload_slide(self, name: str, data: bytes, **form: str) -> Any:
        answer = self.api.post("/v1/slides", files={"file": (name, data)}, data=form)
        return answer.raise_for_status().json()

    def upload_dataset(self, data: bytes) -> Any:
        return self.api.post("/v1/datasets", files={"file": ("dataset.zip", data)}).raise_for_status().json()

    def finished(self, job: str, *, within_s: float = 900.0) -> Any:
        """Wait for the end of a job that must succeed."""
        deadline = time.monotonic() + within_s
        while (view := self.get(f"/v1/jobs/{job}"))["state"] not in FINAL:
            assert time.monotonic() < deadline, view
            time.sleep(0.1)
        assert view["state"] == "succeeded", view
        return view


@contextmanager
def shared_stack(folder: Path) -> Iterator[Stack]:
    """Run one stack for all processes that share ``folder``: the first starts it, and ends it after the others."""
    with (folder / "users").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        with _locked(folder / "start"):
            mine, url, content = _found_or_started(folder)
        try:
            with httpx.Client(base_url=url, timeout=120.0) as api:
                yield Stack(url, content, api)
        finally:
            if mine is not None:
                fcntl.flock(users, fcntl.LOCK_EX)
                (folder / "address.json").unlink()
                mine.stop()


def _found_or_started(folder: Path) -> tuple[LocalStack | None, str, Path]:
    address = folder / "address.json"
    if address.exists():
        found = json.loads(address.read_text())
        return None, found["url"], Path(found["content"])
    port = _two_free_ports()
    content = folder / f"stack-{port}"
    content.mkdir()
    stack = LocalStack(Settings(data=content / "data", port=port))
    stack.start()
    address.write_text(json.dumps({"url": stack.url, "content": str(content)}))
    return stack, stack.url, content


def _two_free_ports() -> int:
    """Below what the system gives to outgoing connections, which may take a free one at any time."""
    while True:
        port = random.randrange(20000, 32000)
        with suppress(OSError), socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", port))
            second.bind(("127.0.0.1", port + 1))
            return port


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
