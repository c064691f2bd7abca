"""Runs one of the sandbox's services alone: its application, and its control interface if it has one."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from streamops_sandbox import attach, control_socket
from streamops_sandbox.home import Home


def run(name: str, make: Callable[[str], web.Application], home: Path, port: int) -> None:
    """Serve what `make(base_url)` returns on a port (0: any) until SIGTERM; prints the base URL.

    The control interface is at `/NAME` on the socket `control.sock` of the folder `home`.
    """
    os.umask(0o077)
    listener = socket.create_server(("127.0.0.1", port))
    base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    app = make(base_url)
    print(base_url, flush=True)
    asyncio.run(attach.until_told(_serve(name, app, Home(home), listener)))


async def _serve(name: str, app: web.Application, home: Home, listener: socket.socket) -> None:
    runners = [web.AppRunner(app, access_log=None)]
    await runners[0].setup()
    await web.SockSite(runners[0], listener).start()
    if (control := app.get(control_socket.CONTROL)) is not None:
        root = web.Application()
        root.add_subapp(f"/{name}", control)
        runners.append(await control_socket.serve(root, home))
    try:
        await asyncio.Event().wait()
    finally:
        for runner in runners:
            await runner.cleanup()
