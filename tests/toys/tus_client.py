"""A client of tus that says exactly what a test wants it to."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx

PIECE = "application/offset+octet-stream"


def metadata(**pairs: str) -> str:
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in pairs.items())


@dataclass
class TusClient:
    """Speaks to one api; every answer is given back as it came."""

    base: str
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 30.0

    def ask(self, method: str, path: str, *, content: bytes | None = None, **headers: str) -> httpx.Response:
        own = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {"Tus-Resumable": "1.0.0", **self.headers, **own}
        return httpx.request(method, self.base + path, content=content, headers=sent, timeout=self.timeout)

    def create(self, length: int | str, **pairs: str) -> httpx.Response:
        return self.ask("POST", "/v1/uploads", Upload_Length=str(length), Upload_Metadata=metadata(**pairs))

    def begin(self, length: int, **pairs: str) -> str:
        answer = self.create(length, **pairs)
        assert answer.status_code == 201, answer.text
        return answer.headers["location"]

    def patch(self, path: str, offset: int | str, data: bytes, **headers: str) -> httpx.Response:
        return self.ask("PATCH", path, content=data, **{"Content_Type": PIECE, "Upload_Offset": str(offset)} | headers)

    def offset(self, path: str) -> int:
        answer = self.ask("HEAD", path)
        assert answer.status_code == 200, answer.headers
        return int(answer.headers["upload-offset"])

    def slide(self, path: str, **choices: object) -> httpx.Response:
        url = f"{self.base}{path}/slide"
        return httpx.post(url, json=choices, headers=dict(self.headers), timeout=self.timeout)
