"""The CloudEvents specification's own scenarios for the HTTP protocol binding."""

from __future__ import annotations

import os
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# The checkout's neighbour, or wherever the specification's conformance folder is.
FEATURE = Path(
    os.environ.get("CLOUDEVENTS_CONFORMANCE", ROOT.parent / "shared" / "cloudevents"),
    "http-protocol-binding.feature",
)


def request_bytes(docstring: str) -> bytes:
    """Return a scenario's request byte by byte, but for what a server needs to know."""
    head, body = docstring.split("\n\n", 1)
    head = re.sub(r"(?m)^POST /someresource", "POST /", head)
    head = re.sub(r"Content-Length: \d+", f"Content-Length: {len(body.encode())}", head)
    return (head.replace("\n", "\r\n") + "\r\nConnection: close\r\n\r\n" + body).encode()
