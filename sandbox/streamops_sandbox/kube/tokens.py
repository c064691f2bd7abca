"""Service-account tokens: signed JWTs, bound to an audience, an expiry and maybe an object.

https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from streamops_sandbox.kube.authn import User
from streamops_sandbox.objects import Object

#: (resource plural, namespace, name) → the object's uid, or None where it is gone.
FindUid = Callable[[str, str, str], str | None]

_PREFIX = "system:serviceaccount:"
BOUND_KINDS = {"pod": "pods", "secret": "secrets", "node": "nodes"}


def username(namespace: str, name: str) -> str:
    """`system:serviceaccount:NS:NAME`."""
    return f"{_PREFIX}{namespace}:{name}"


def groups(namespace: str) -> tuple[str, ...]:
    """The groups every service account of a namespace is in."""
    return ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")


#: What is checked here instead, since a token's account and its bound object count too.
_UNCHECKED: Any = dict.fromkeys(("verify_exp", "verify_nbf", "verify_iat", "verify_aud"), False)


@dataclass(slots=True)
class Binding:
    """The object a token lives and dies with."""

    kind: str
    name: str
    uid: str


class TokenSigner:
    """Signs and verifies with an RSA key that lives as long as the process, like the accounts."""

    def __init__(self, *, issuer: str, find_uid: FindUid) -> None:
        self.issuer = issuer
        self._find_uid = find_uid
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._public = self._key.public_key()
        self._key_id = str(uuid.uuid4())
        self._verified: dict[str, Object] = {}

    def jwks(self) -> Object:
        """The public key as a JSON Web Key Set."""
        key = RSAAlgorithm.to_jwk(self._public, as_dict=True)
        key |= {"use": "sig", "alg": "RS256", "kid": self._key_id}
        del key["key_ops"]
        return {"keys": [key]}

    def openid_configuration(self, jwks_uri: str) -> Object:
        """The issuer's discovery document."""
        return {
            "issuer": self.issuer,
            "jwks_uri": jwks_uri,
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    def issue(
        self,
        namespace: str,
        name: str,
        uid: str,
        *,
        audiences: Sequence[str] = (),
        seconds: int = 3600,
        bound: Binding | None = None,
    ) -> tuple[str, int]:
        """A token of a service account, and when it ends (seconds since the epoch)."""
        issued = int(time.time())
        private: Object = {"namespace": namespace, "serviceaccount": {"name": name, "uid": uid}}
        if bound:
            private[bound.kind.lower()] = {"name": bound.name, "uid": bound.uid}
        claims = {
            "aud": list(audiences) or [self.issuer],
            "exp": issued + seconds,
            "iat": issued,
            "nbf": issued,
            "iss": self.issuer,
            "jti": str(uuid.uuid4()),
            "kubernetes.io": private,
            "sub": username(namespace, name),
        }
        headers = {"kid": self._key_id}
        return jwt.encode(claims, self._key, "RS256", headers=headers), issued + seconds

    def verify(self, token: str, audiences: Sequence[str] = ()) -> tuple[User, list[str]] | None:
        """The token's user and the audiences it is good for; None where it is not valid now."""
        claims = self._claims(token)
        if claims is None or not claims["nbf"] <= time.time() < claims["exp"]:
            return None
        wanted = list(audiences) or [self.issuer]
        common = [audience for audience in wanted if audience in claims["aud"]]
        if not common:
            return None
        private = claims["kubernetes.io"]
        namespace, account = private["namespace"], private["serviceaccount"]
        if self._find_uid("serviceaccounts", namespace, account["name"]) != account["uid"]:
            return None
        extra: dict[str, list[str]] = {
            "authentication.kubernetes.io/credential-id": [f"JTI={claims['jti']}"]
        }
        for kind, plural in BOUND_KINDS.items():
            bound = private.get(kind)
            if bound is None:
                continue
            space = "" if kind == "node" else namespace
            if self._find_uid(plural, space, bound["name"]) != bound["uid"]:
                return None
            extra[f"authentication.kubernetes.io/{kind}-name"] = [bound["name"]]
            extra[f"authentication.kubernetes.io/{kind}-uid"] = [bound["uid"]]
        user = User(claims["sub"], groups(namespace), account["uid"], extra)
        return user, common

    def _claims(self, token: str) -> Object | None:
        """The claims of a token this server signed; None for any other."""
        known = self._verified.get(token)
        if known is not None:
            return known
        try:
            if jwt.get_unverified_header(token).get("kid") != self._key_id:
                return None
            claims: Object = jwt.decode(token, self._public, ["RS256"], options=_UNCHECKED)
        except jwt.InvalidTokenError:
            return None
        now = time.time()
        if len(self._verified) > 1000:
            self._verified = {k: v for k, v in self._verified.items() if v["exp"] > now}
        self._verified[token] = claims
        return claims
