"""What a program that stands in for a container's image gets to see."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

#: The cluster's DNS and service routing in one: (host, port) -> the address to connect to, or None.
#: Names of Services (`NAME.NS.svc.cluster.local`, `NAME.NS.svc`, `NAME.NS`) lead to a ready endpoint,
#: a different one each time; None means there is none, or no such Service. Other hosts, names and
#: addresses alike, come back as they are.
Resolver = Callable[[str, int], tuple[str, int] | None]


@dataclass(frozen=True)
class ContainerContext:
    """A started container, as its program sees it.

    `env` and `args` are resolved: references replaced, service account token and the node's own
    variables included; `args` is `command` and `args` of the container spec, without the image's
    entrypoint. The program binds exactly `pod_ip`. `kubeconfig` gives access as the pod's service
    account, by a token file which the node keeps fresh. `log` writes one line to the container's
    log. The program runs until it is cancelled, which is its SIGTERM; what it returns is the exit
    code, an exception is a crash (exit code 1, traceback in the log).
    """

    image: str
    name: str
    namespace: str
    pod: str
    pod_uid: str
    pod_ip: str
    env: dict[str, str]
    args: list[str]
    kubeconfig: dict[str, Any]
    log: Callable[[str], None]
    resolve: Resolver


Program = Callable[[ContainerContext], Awaitable[int]]
