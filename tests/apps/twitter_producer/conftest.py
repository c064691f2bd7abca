"""Fixtures of the producer's tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp
import pytest
import requests
from aiohttp import web
from support import producer, x_openapi
from support.ports import free_port

Answer = tuple[int, dict[str, str], bytes]


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[producer.Kit]:
    """The parts of a test; what X was asked in it has to be valid by X's own document."""
    with producer.kit(tmp_path) as made:
        yield made
        if x_openapi.DOCUMENT.is_file():
            for x in made.xs:
                x_openapi.check_requests(x.requests())


@pytest.fixture
def viewer(tmp_path: Path) -> Iterator[str]:
    """The event viewer, as a process; gives its URL."""
    port = free_port()
    settings = {"HOST": "127.0.0.1", "PORT": str(port), "STORE": str(tmp_path / "events.db")}
    path = os.pathsep.join(str(producer.ROOT / part) for part in producer.PATHS)
    process = subprocess.Popen(
        [sys.executable, "-m", "event_viewer"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": path, **settings},
        stdout=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        producer.wait_for(lambda: _ready(url))
        yield url
    finally:
        process.terminate()
        process.wait(producer.PATIENCE)


def _ready(url: str) -> bool:
    try:
        return requests.get(url + "/readyz", timeout=producer.PATIENCE).status_code == 200
    except requests.ConnectionError:
        return False


@pytest.fixture
def x_answers(kit: producer.Kit) -> Callable[..., str]:
    """Puts a server in front of X that gives these answers to the first searches; gives its URL."""

    def start(x: producer.X, answers: list[Answer], path: str = "/2/tweets") -> str:
        async def handle(request: web.Request) -> web.Response:
            if answers and request.path.startswith(path):
                status, headers, body = answers.pop(0)
                return web.Response(status=status, headers=headers, body=body)
            async with (
                aiohttp.ClientSession() as session,
                session.request(
                    request.method,
                    x.url + str(request.rel_url),
                    headers=request.headers,
                    data=await request.read(),
                ) as answer,
            ):
                kept = {n: v for n, v in answer.headers.items() if n in ("Date", "Content-Type")}
                return web.Response(status=answer.status, headers=kept, body=await answer.read())

        def make(_url: str) -> web.Application:
            app = web.Application(handler_args={"max_field_size": 1 << 16})
            app.router.add_route("*", "/{path:.*}", handle)
            return app

        return kit.loop.serve(make)

    return start
