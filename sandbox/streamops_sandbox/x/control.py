"""The control interface of X's stand-in: publish, delete, break, watch the bill.

Served on the sandbox's control socket only; sandbox/docs/x.md documents the requests.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from aiohttp import web

from streamops_sandbox import control_socket
from streamops_sandbox.objects import Object
from streamops_sandbox.x import parameters
from streamops_sandbox.x.auth import AppKeys
from streamops_sandbox.x.endpoints import X


def application(x: X) -> web.Application:
    """Return the application that controls `x`."""

    def show(_: None) -> Object:
        return {
            "posts": len(x.posts),
            "bill": x.bill.report(),
            "stream": x.stream.connected,
            "faults": sum(fault.count for fault in x.faults.waiting),
        }

    def publish(entries: list[Object], matching: str = "") -> list[str]:
        posts = [x.publish(entry, matches_all=matching == "all") for entry in entries]
        return [str(post.id) for post in posts]

    def delete(_: None, id: str, reason: str = "deleted") -> None:
        post = x.posts.find(int(id)) if id.isdecimal() else None
        if post is None:
            raise web.HTTPNotFound(text="there is no such post\n")
        x.compliance.note(post, reason)
        x.posts.delete(post.id)

    def set_compliance(body: Object) -> None:
        x.compliance.seconds = float(body.get("seconds", 0))
        x.compliance.failures = int(body.get("failures", 0))

    def set_credits(body: Object) -> Object:
        x.bill.credits = body.get("dollars")
        return x.bill.report()

    def set_spelling(body: Object) -> None:
        if body["spelling"] not in parameters.POST_FIELDS:
            raise ValueError(f"spelling: one of {', '.join(parameters.POST_FIELDS)}")
        x.refused = {*parameters.POST_FIELDS} - {body["spelling"]}

    def set_limits(body: dict[str, int]) -> None:
        for name, limit in body.items():
            endpoint, _, kind = name.partition("/")
            if (endpoint, kind) not in x.limits.limits:
                raise ValueError(f"there is no limit {name}")
            x.limits.limits[endpoint, kind] = int(limit)
        x.limits.used.clear()

    def set_clock(body: Object) -> Object:
        x.ahead = timedelta(seconds=float(body["ahead_seconds"]))
        return {"now": x.now().isoformat()}

    def renew_keys(_: Any) -> None:
        x.keys_file.unlink(missing_ok=True)
        x.authenticator.keys = AppKeys.at(x.keys_file)

    return control_socket.application(
        {
            **x.faults.controls(),
            "GET /": show,
            "GET /requests": lambda _: list(x.requests),
            "POST /posts": publish,
            "DELETE /posts/{id}": delete,
            "PUT /credits": set_credits,
            "PUT /fields": set_spelling,
            "PUT /limits": set_limits,
            "PUT /clock": set_clock,
            "PUT /compliance": set_compliance,
            "POST /keys": renew_keys,
            "POST /disconnect": lambda _: x.stream.disconnect(),
        }
    )
