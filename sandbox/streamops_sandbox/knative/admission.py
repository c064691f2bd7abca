"""A webhook server as knative.dev/pkg runs one: TLS from its Secret, registering itself.

The process writes a certificate to its Secret, puts the CA, its path and its rules into the
webhook configurations that came with the release, and answers AdmissionReview requests.
"""

from __future__ import annotations

import asyncio
import base64
import copy
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import jsonpatch
from aiohttp import web

from streamops_sandbox.client import ApiError
from streamops_sandbox.controller import Controller
from streamops_sandbox.informer import Informer
from streamops_sandbox.knative import certificates, release
from streamops_sandbox.knative.configmaps import check_example
from streamops_sandbox.knative.fielderrors import Denied
from streamops_sandbox.knative.process import Process, is_probe
from streamops_sandbox.objects import Object

Request = Object
#: Takes an AdmissionReview's request, returns the object or raises Denied.
Handle = Callable[[Request], Awaitable[Object]]
#: Takes the request and a copy of its object, to be changed or checked; raises Denied.
Judge = Callable[[Request, Object], None]

_logger = logging.getLogger(__name__)
_MUTATING, _VALIDATING = "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"
_API = "admissionregistration.k8s.io/v1"


@dataclass(frozen=True)
class Webhook:
    """One webhook configuration and what answers for it.

    `handle` gets the AdmissionReview's request and returns the object, changed or not, or raises
    Denied. `settings` returns the fields of the webhook entry to maintain besides caBundle and
    path: rules, selectors; called whenever something changes.
    """

    configuration: str
    mutating: bool
    path: str
    handle: Handle
    settings: Callable[[], Object]

    @property
    def kind(self) -> str:
        """The configuration's kind."""
        return _MUTATING if self.mutating else _VALIDATING


def _rules(kinds: list[Object], operations: list[str]) -> list[Object]:
    """Return rules for kinds, as crds.yaml describes them, in a stable order."""
    return [
        {
            "apiGroups": [kind["group"]],
            "apiVersions": sorted(kind["versions"]),
            "operations": operations,
            "resources": [kind["plural"], f"{kind['plural']}/status"],
            "scope": "*",
        }
        for kind in sorted(kinds, key=lambda kind: (kind["group"], kind["plural"]))
    ]


def standard_webhooks(
    product: str,
    default: Judge,
    validate: Judge,
    *,
    validate_config: Judge = lambda request, config: None,
) -> list[Webhook]:
    """Return the webhooks both products have: for their kinds, and for their ConfigMaps.

    Each gets the AdmissionReview's request and a copy of its object, which `default` completes and
    the others check, raising Denied. Namespaces can opt out of those for kinds.
    """
    kinds = release.kinds(product)
    exclude = {"key": "webhooks.knative.dev/exclude", "operator": "DoesNotExist"}
    changes = ["CREATE", "UPDATE"]
    configs = _rules([{"group": "", "versions": ["v1"], "plural": "configmaps"}], changes)
    configs[0]["resources"] = ["configmaps/*"]

    def check_config(request: Request, config: Object) -> None:
        check_example(config)
        validate_config(request, config)

    def webhook(
        name: str, path: str, judge: Judge, found: list[Object], *, mutating: bool = False
    ) -> Webhook:
        settings: Object = {"rules": found}
        if found is not configs:
            settings["namespaceSelector"] = {"matchExpressions": [exclude]}
        return Webhook(
            f"{name}.{product}.knative.dev", mutating, path, _handle(judge), lambda: settings
        )

    checked = _rules(kinds, ["CREATE", "DELETE", "UPDATE"])
    return [
        webhook("webhook", "/defaulting", default, _rules(kinds, changes), mutating=True),
        webhook("validation.webhook", "/resource-validation", validate, checked),
        webhook("config.webhook", "/config-validation", check_config, configs),
    ]


def _handle(judge: Judge) -> Handle:
    """Return a handler that lets pass what is being deleted, and subresources."""

    async def handle(request: Request) -> Object:
        obj: Object = copy.deepcopy(request.get("object") or {})
        deleted = (obj.get("metadata") or {}).get("deletionTimestamp")
        if request["operation"] != "DELETE" and not deleted and not request.get("subResource"):
            judge(request, obj)
        return obj

    return handle


class WebhookServer(Controller):
    """Serves the webhooks of one Deployment; queue keys are configurations' names."""

    def __init__(self, process: Process, webhooks: list[Webhook]) -> None:
        super().__init__(process.client, "webhook registration")
        self._process = process
        self._service = process.ctx.env["WEBHOOK_NAME"]
        self._port = int(process.ctx.env["WEBHOOK_PORT"])
        self._secret = f"{self._service}-certs"
        self._webhooks = {webhook.configuration: webhook for webhook in webhooks}
        self._paths = {webhook.path: webhook for webhook in webhooks}
        self._ca = ""
        self._configurations: dict[str, Informer] = {
            kind: self.watch(process.client.informer(_API, kind), self._keys)
            for kind in sorted({webhook.kind for webhook in webhooks})
        }

    async def serve(self) -> None:
        """Get a certificate, listen, then keep the configurations right until cancelled."""
        secret = await self._certificate()
        self._ca = secret["data"][certificates.CA_CERT]
        await self._process.listen(
            self._port, self._answer, tls=certificates.server_context(secret)
        )
        await self.run()

    def refresh(self) -> None:
        """Have all configurations looked at again: their rules may have changed."""
        for name in self._webhooks:
            self.enqueue(None, name)

    async def reconcile(self, namespace: str | None, name: str) -> None:
        """Put CA, path and rules into one webhook configuration."""
        webhook = self._webhooks[name]
        current = self._configurations[webhook.kind].get(name)
        if current is None:
            return
        wanted = copy.deepcopy(current)
        for entry in wanted["webhooks"]:
            if entry["name"] == name:
                entry.update(webhook.settings())
                entry["clientConfig"]["caBundle"] = self._ca
                entry["clientConfig"].setdefault("service", {})["path"] = webhook.path
        if wanted != current:
            await self.client.update(wanted)

    def _keys(self, obj: Object) -> list[tuple[None, str]]:
        name = obj["metadata"]["name"]
        return [(None, name)] if name in self._webhooks else []

    async def _certificate(self) -> Object:
        """Return the Secret with a usable certificate, made here unless another replica was first.

        Waits for the Secret: like upstream, the release has to bring an empty one.
        """
        namespace = self._process.namespace
        while True:
            try:
                secret = await self.client.get("v1", "Secret", self._secret, namespace)
                if certificates.usable(secret):
                    return secret
                secret["data"] = certificates.create(self._service, namespace)
                return await self.client.update(secret)
            except ApiError as error:
                if error.status not in (404, 409):
                    raise
                await asyncio.sleep(0.5)

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        if is_probe(request):
            return web.Response()
        review = json.loads(await request.read())
        body = review["request"]
        response = await _respond(self._paths[request.path], body)
        answer = {
            "apiVersion": review["apiVersion"],
            "kind": review["kind"],
            "response": {"uid": body["uid"], **response},
        }
        return web.json_response(answer)


async def _respond(webhook: Webhook, request: Request) -> Object:
    try:
        changed = await webhook.handle(request)
    except Denied as error:
        return _denial(400, str(error))
    except Exception as error:
        _logger.exception("webhook %s", webhook.configuration)
        return _denial(500, str(error))
    if not webhook.mutating:
        return {"allowed": True}
    patch = jsonpatch.make_patch(request.get("object") or {}, changed).patch
    if not patch:
        return {"allowed": True}
    encoded = base64.b64encode(json.dumps(patch).encode()).decode()
    return {"allowed": True, "patchType": "JSONPatch", "patch": encoded}


def _denial(code: int, message: str) -> Object:
    reason = "BadRequest" if code == 400 else "InternalError"
    status = {"status": "Failure", "code": code, "reason": reason, "message": message}
    return {"allowed": False, "status": status}
