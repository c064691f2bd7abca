"""Passing an HTTP/1.1 request on: bodies of known small size at once, all others as they come."""

from __future__ import annotations

from collections.abc import Mapping

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from streamops_sandbox.knative.transport import Transport

#: Headers about one connection, not the message (RFC 9110, section 7.6.1).
_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_SMALL = 1 << 16


async def forward(
    request: web.BaseRequest,
    transport: Transport,
    address: str,
    *,
    add: Mapping[str, str] | None = None,
    drop: frozenset[str] = frozenset(),
) -> web.StreamResponse:
    """Send a request on to `address` (`host:port`) and stream back the answer.

    The Host header stays; `add` sets more headers, `drop` (lower case) removes some.

    Raises:
        aiohttp.ClientError, TimeoutError, OSError: no answer; nothing was sent back yet.
    """
    if request.headers.get("Upgrade"):
        return web.Response(status=501, text="protocol upgrades are not modelled\n")
    headers = CIMultiDict(
        (name, value)
        for name, value in request.headers.items()
        if name.lower() not in _HOP_BY_HOP and name.lower() not in drop
    )
    headers.update(add or {})
    body = await _body(request)
    url = f"http://{address}{request.raw_path}"
    async with transport.request(request.method, url, headers=headers, data=body) as answer:
        return await _answer(request, answer)


async def _body(request: web.BaseRequest) -> bytes | aiohttp.StreamReader | None:
    if not request.body_exists:
        return None
    length = request.content_length
    if length is not None and length <= _SMALL:
        return await request.read()
    return request.content


async def _answer(request: web.BaseRequest, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    headers = CIMultiDict(
        (name, value) for name, value in answer.headers.items() if name.lower() not in _HOP_BY_HOP
    )
    length = answer.content_length
    if length is not None and length <= _SMALL and request.method != "HEAD":
        content = await answer.read()
        headers.popall("Content-Length", None)
        return web.Response(
            status=answer.status, reason=answer.reason, headers=headers, body=content
        )
    response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=headers)
    if length is None and request.version >= aiohttp.HttpVersion11 and request.method != "HEAD":
        response.enable_chunked_encoding()
    await response.prepare(request)
    async for chunk in answer.content.iter_any():
        await response.write(chunk)
    await response.write_eof()
    return response
