"""A small stand-in for the Hub: the part of its HTTP API that publishing a dataset goes through, on
this machine.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_known"


@dataclass
class Hub:
    """What was sent to it."""

    endpoint: str
    status: int = 200
    """With which it answers whoever creates a repository."""
    created: list[dict[str, Any]] = field(default_factory=list)
    validated: list[str] = field(default_factory=list)
    stored: dict[str, bytes] = field(default_factory=dict)
    """Large files by their SHA-256."""
    files: dict[str, bytes] = field(default_factory=dict)
    """The repository after its commits."""


@contextmanager
def hub() -> Iterator[Hub]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.state = Hub(f"http://127.0.0.1:{server.server_address[1]}")  # pyright: ignore[reportAttributeAccessIssue]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.state  # pyright: ignore[reportAttributeAccessIssue]
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def hub(self) -> Hub:
        return self.server.state  # pyright: ignore[reportAttributeAccessIssue]

    def do_POST(self) -> None:
        body = self._body()
        if self.path == "/api/validate-yaml":
            self.hub.validated.append(json.loads(body)["content"])
            self._answer({"errors": [], "warnings": []})
        elif self.headers["Authorization"] != f"Bearer {TOKEN}":
            self._answer({"error": "Invalid username or password."}, 401)
        elif self.path == "/api/repos/create":
            self.hub.created.append(given := json.loads(body))
            self._answer(
                {"url": f"{self.hub.endpoint}/datasets/{given['organization']}/{given['name']}"},
                self.hub.status,
            )
        elif "/preupload/" in self.path:
            self._answer(
                {"files": [self._mode(file["path"]) for file in json.loads(body)["files"]]}
            )
        elif self.path.endswith("/info/lfs/objects/batch"):
            self._answer(
                {
                    "transfer": "basic",
                    "objects": [self._place(given) for given in json.loads(body)["objects"]],
                }
            )
        elif "/commit/" in self.path:
            self._commit(body)
            repo = self.path.removeprefix("/api/").partition("/commit/")[0]
            self._answer(
                {"commitUrl": f"{self.hub.endpoint}/{repo}/commit/1", "commitOid": "1" * 40}
            )
        else:
            self._answer({"error": f"there is no {self.path}"}, 404)

    def do_PUT(self) -> None:
        self.hub.stored[self.path.rpartition("/")[2]] = self._body()
        self._answer({})

    def do_GET(self) -> None:
        self._answer({"error": "Repository not found"}, 404)

    def _mode(self, path: str) -> dict[str, Any]:
        return {
            "path": path,
            "uploadMode": "lfs" if path.endswith((".parquet", ".safetensors")) else "regular",
            "shouldIgnore": False,
        }

    def _place(self, given: dict[str, Any]) -> dict[str, Any]:
        return {
            **given,
            "actions": {"upload": {"href": f"{self.hub.endpoint}/storage/{given['oid']}"}},
        }

    def _commit(self, body: bytes) -> None:
        for line in map(json.loads, body.decode().splitlines()):
            value = line["value"]
            if line["key"] == "file":
                self.hub.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                content = self.hub.stored[value["oid"]]
                assert hashlib.sha256(content).hexdigest() == value["oid"]
                self.hub.files[value["path"]] = content

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            chunks = []
            while size := int(self.rfile.readline(), 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, content: dict[str, Any], status: int = 200) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *_: Any) -> None: ...
