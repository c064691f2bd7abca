"""Which handler answers which subresource, and which kinds are only ever asked."""

from __future__ import annotations

from streamops_sandbox.kube.authn import Authentication
from streamops_sandbox.kube.authz import Authorizer
from streamops_sandbox.kube.kubelet import Kubelet
from streamops_sandbox.kube.rest import Subresource
from streamops_sandbox.kube.subresources import access, pods, scale
from streamops_sandbox.kube.subresources.proxy import Proxy
from streamops_sandbox.kube.subresources.tokens import TokenRequests, TokenReviews
from streamops_sandbox.kube.tokens import TokenSigner

_ACCESS = "authorization.k8s.io"
_IDENTITY = "authentication.k8s.io"


def handlers(
    *,
    authentication: Authentication,
    authorizer: Authorizer,
    signer: TokenSigner,
    kubelet: Kubelet,
    proxy: Proxy,
) -> dict[str, Subresource]:
    """`collection`, `collection/subresource` or `*/subresource` → handler."""
    access_reviews = access.AccessReviews(authorizer)
    return {
        "*/scale": scale.serve,
        "bindings": pods.bind,
        "pods/binding": pods.bind,
        "pods/eviction": pods.evict,
        "pods/log": pods.Logs(kubelet),
        "pods/proxy": proxy,
        "services/proxy": proxy,
        "serviceaccounts/token": TokenRequests(signer),
        f"tokenreviews.{_IDENTITY}": TokenReviews(signer, authentication),
        f"selfsubjectreviews.{_IDENTITY}": access.who_am_i,
        f"subjectaccessreviews.{_ACCESS}": access_reviews,
        f"localsubjectaccessreviews.{_ACCESS}": access_reviews,
        f"selfsubjectaccessreviews.{_ACCESS}": access_reviews,
        f"selfsubjectrulesreviews.{_ACCESS}": access.RulesReviews(authorizer),
    }
