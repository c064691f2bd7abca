"""The token endpoints: oauth2.googleapis.com (/token, /tokeninfo) and sts.googleapis.com (/v1/token)."""

from __future__ import annotations

import time

from aiohttp import web

from streamops_sandbox.clusters import Clusters
from streamops_sandbox.google.errors import GoogleError, OAuthError
from streamops_sandbox.google.iam.policies import allowed
from streamops_sandbox.google.oauth import federation
from streamops_sandbox.google.oauth.tokens import CLOUD_PLATFORM, USERINFO_EMAIL, Tokens
from streamops_sandbox.google.projects import State

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105 - a name, no password
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - likewise


class OAuth:
    """Routes of the token endpoints; `base_url` is an audience of assertions."""

    def __init__(self, state: State, tokens: Tokens, clusters: Clusters, base_url: str) -> None:
        self._state, self._tokens, self._clusters = state, tokens, clusters
        # google-auth always names Google's own endpoint, wherever the key's token_uri points
        self._audiences = (f"{base_url}/token", "https://oauth2.googleapis.com/token")

    def routes(self) -> list[web.RouteDef]:
        """Paths as Google's."""
        return [
            web.post("/token", self.token),
            web.get("/tokeninfo", self.tokeninfo),
            web.post("/v1/token", self.exchange),
        ]

    async def token(self, request: web.Request) -> web.Response:
        """JWT bearer grants of service accounts and refresh tokens of users."""
        form = {k: str(v) for k, v in (await request.post()).items()}
        grant = form.get("grant_type")
        if grant == JWT_BEARER:
            principal, scope = self._tokens.assertion(form.get("assertion", ""), self._audiences)
        elif grant == "refresh_token":
            principal = self._tokens.refresh(form.get("refresh_token", ""))
            scope = form.get("scope") or f"openid {USERINFO_EMAIL} {CLOUD_PLATFORM}"
        else:
            raise OAuthError("unsupported_grant_type", f"Invalid grant_type: {grant}")
        return web.json_response({**self._tokens.issue(principal, scope), "scope": scope})

    async def tokeninfo(self, request: web.Request) -> web.Response:
        """Whose token `access_token` is; the e-mail address only with the userinfo.email scope."""
        try:
            token = self._tokens.lookup(request.query.get("access_token", ""))
        except GoogleError:
            raise OAuthError("invalid_token", "Invalid Value") from None
        principal = token.principal
        info: dict[str, object] = {
            "sub": principal.unique_id or principal.member,
            "scope": token.scope,
            "expires_in": str(int(token.expires - time.time())),
        }
        if principal.email and USERINFO_EMAIL in token.scope.split():
            info |= {"email": principal.email, "email_verified": "true"}
        # Not Google's: stands for the webhook by which GKE lets IAM's roles into a cluster.
        project = self._state.projects.get(principal.project)
        policies = [project.policy] if project else []
        if allowed(principal, "container.clusterRoleBindings.create", policies):
            info["kubernetes_groups"] = ["system:masters"]
        return web.json_response(info)

    async def exchange(self, request: web.Request) -> web.Response:
        """RFC 8693: a Kubernetes token of a cluster in the pool for a Google access token."""
        fields = {k: str(v) for k, v in (await request.post()).items()}
        if fields.get("grant_type") != TOKEN_EXCHANGE:
            problem = f"Invalid grant_type: {fields.get('grant_type')}"
            raise OAuthError("unsupported_grant_type", problem)
        principal = await federation.verify(
            self._state, self._clusters, fields.get("subject_token", ""), fields.get("audience", "")
        )
        issued = self._tokens.issue(principal, fields.get("scope", ""))
        return web.json_response({**issued, "issued_token_type": ACCESS_TOKEN})
