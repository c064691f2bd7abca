"""Workload identity: Kubernetes tokens of this sandbox's clusters, verified by the clusters themselves.

The contract is that of GKE (https://cloud.google.com/kubernetes-engine/docs/concepts/workload-identity):
the metadata server of a node sends the pod's token, made for the pool as its audience, to the
Security Token Service with the audience `identitynamespace:POOL:PROVIDER`.
"""

from __future__ import annotations

import asyncio

import aiohttp
import jwt
import yaml

from streamops_sandbox.client import ApiError, Client
from streamops_sandbox.clusters import Cluster, Clusters
from streamops_sandbox.google.errors import OAuthError
from streamops_sandbox.google.iam.principals import Principal
from streamops_sandbox.google.projects import State

REVIEW_SECONDS = 10


async def verify(state: State, clusters: Clusters, subject_token: str, audience: str) -> Principal:
    """The principal of a pod's token; OAuthError where no cluster vouches for it by a TokenReview.

    `audience` is `identitynamespace:POOL:PROVIDER`: the provider says which cluster, and may be any
    address of it, so the clusters are asked.
    """
    pool = audience.removeprefix("identitynamespace:").partition(":")[0]
    project = state.find_project(pool.removesuffix(".svc.id.goog"))
    if project is None or not pool.endswith(".svc.id.goog"):
        problem = f"The target service indicated by the audience is invalid: {pool}"
        raise OAuthError("invalid_target", problem)
    try:
        issuer = jwt.decode(subject_token, options={"verify_signature": False}).get("iss")
    except jwt.DecodeError:
        raise OAuthError("invalid_grant", "The subject token is no JWT.") from None
    # The one that the token names as its issuer first.
    for cluster in sorted(clusters.list(), key=lambda one: one.url != issuer):
        if user := await _review(cluster, subject_token, pool):
            _, _, namespace, account = user.split(":")
            member = (
                f"principal://iam.googleapis.com/projects/{project.number}/locations/global/"
                f"workloadIdentityPools/{pool}/subject/ns/{namespace}/sa/{account}"
            )
            alias = f"serviceAccount:{pool}[{namespace}/{account}]"
            return Principal(member, project.project_id, alias=alias)
    raise OAuthError(
        "invalid_grant",
        "The given credential is rejected by the attribute condition or by its issuer: no"
        f" cluster of the pool {pool} accepts the token.",
    )


async def _review(cluster: Cluster, token: str, audience: str) -> str:
    """Ask a cluster whose token this is: `system:serviceaccount:NS:NAME`, or "" if not one of its own."""
    review = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "metadata": {},
        "spec": {"token": token, "audiences": [audience]},
    }
    text = await asyncio.to_thread(cluster.kubeconfig_path.read_text, encoding="utf-8")
    try:
        async with Client(yaml.safe_load(text), timeout=REVIEW_SECONDS) as client:
            answer = await client.create(review)
    except (ApiError, aiohttp.ClientError, TimeoutError):
        return ""
    status = answer.get("status", {})
    if not status.get("authenticated") or audience not in status.get("audiences", []):
        return ""
    user: str = status["user"]["username"]
    return user if user.startswith("system:serviceaccount:") else ""
