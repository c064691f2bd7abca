"""IAM v1 and IAM Service Account Credentials v1: service accounts and acting as them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from streamops_sandbox.google.errors import GoogleError, invalid, permission_denied
from streamops_sandbox.google.iam.policies import Policy, allowed
from streamops_sandbox.google.iam.principals import Principal
from streamops_sandbox.google.oauth.tokens import Tokens
from streamops_sandbox.google.projects import Project
from streamops_sandbox.google.service import Call, serves, serves_policies
from streamops_sandbox.objects import Object
from streamops_sandbox.timestamps import after

_ACCOUNT_ID = re.compile(r"[a-z]([-a-z0-9]{4,28}[a-z0-9])")
_TEXTS = {"displayName", "description"}


@dataclass(slots=True)
class ServiceAccount:
    """One service account."""

    project: Project
    email: str
    unique_id: str
    texts: Object = field(default_factory=dict)
    disabled: bool = False
    generation: int = 1
    policy: Policy = field(default_factory=Policy)

    def shown(self) -> Object:
        """As the API answers it."""
        shown: Object = {
            "name": f"projects/{self.project.project_id}/serviceAccounts/{self.email}",
            "projectId": self.project.project_id,
            "uniqueId": self.unique_id,
            "email": self.email,
            "oauth2ClientId": self.unique_id,
            "etag": f"MDEwMjE5M{self.generation:03d}",
            "disabled": self.disabled,
            **self.texts,
        }
        return {name: value for name, value in shown.items() if value}


class Iam:
    """Service accounts of all projects; their keys are not modelled."""

    def __init__(self, tokens: Tokens, project: Project, owner: Principal) -> None:
        """`owner` is the account that exists from the start, in `project`."""
        self._tokens = tokens
        texts = {"displayName": "Automation"}
        self._accounts = {owner.email: ServiceAccount(project, owner.email, owner.unique_id, texts)}

    @serves("iam.projects.serviceAccounts.create")
    async def _create(self, call: Call) -> Object:
        project = call.admit("iam.serviceAccounts.create")
        account_id = call.body.get("accountId", "")
        if not _ACCOUNT_ID.fullmatch(account_id):
            raise invalid(
                "account_id",
                f'The account ID "{account_id}" does not have a length between 6 and 30 or does'
                " not match the pattern [a-z]([-a-z0-9]*[a-z0-9]).",
            )
        email = f"{account_id}@{project.project_id}.iam.gserviceaccount.com"
        if email in self._accounts:
            problem = f"Service account {account_id} already exists within project {call.resource}."
            raise GoogleError("ALREADY_EXISTS", problem)
        texts = {k: v for k, v in call.body.get("serviceAccount", {}).items() if k in _TEXTS}
        account = ServiceAccount(project, email, call.state.unique_id(), texts)
        self._accounts[email] = account
        return account.shown()

    @serves("iam.projects.serviceAccounts.get")
    async def _get(self, call: Call) -> Object:
        return self._account(call, "iam.serviceAccounts.get").shown()

    @serves("iam.projects.serviceAccounts.list")
    async def _list_all(self, call: Call) -> Object:
        project = call.admit("iam.serviceAccounts.list")
        accounts = [a.shown() for a in self._accounts.values() if a.project is project]
        return call.page("accounts", accounts, 20)

    @serves("iam.projects.serviceAccounts.patch")
    async def _patch(self, call: Call) -> Object:
        account = self._account(call, "iam.serviceAccounts.update")
        wanted = call.body.get("serviceAccount", {})
        mask = {path for path in call.body.get("updateMask", "").split(",") if path}
        if not mask or not mask <= _TEXTS:
            raise invalid("update_mask", "Only displayName and description can be updated.")
        if wanted.get("etag") not in (None, account.shown()["etag"]):
            raise GoogleError("ABORTED", "There were concurrent changes: the etag does not match.")
        account.texts |= {name: wanted.get(name, "") for name in mask}
        account.generation += 1
        return account.shown()

    @serves("iam.projects.serviceAccounts.delete")
    async def _delete(self, call: Call) -> Object:
        """Delete a service account; its keys and tokens end with it."""
        account = self._account(call, "iam.serviceAccounts.delete")
        del self._accounts[account.email]
        self._tokens.forget_account(account.email)
        return {}

    @serves("iam.projects.serviceAccounts.disable", "iam.projects.serviceAccounts.enable")
    async def _switch(self, call: Call) -> Object:
        verb = call.method.id.rpartition(".")[2]
        self._account(call, f"iam.serviceAccounts.{verb}").disabled = verb == "disable"
        return {}

    @serves_policies("iam.projects.serviceAccounts", "iam.serviceAccounts")
    def _policy(self, call: Call, permission: str) -> Policy:
        return self._account(call, permission).policy

    @serves("iamcredentials.projects.serviceAccounts.generateAccessToken")
    async def _generate_access_token(self, call: Call) -> Object:
        permission = "iam.serviceAccounts.getAccessToken"
        account = self._accounts.get(call.parts[3])
        policies = [account.policy, account.project.policy] if account else []
        if account is None or not allowed(call.principal, permission, policies):
            raise permission_denied(permission, call.resource)
        if account.disabled:
            raise GoogleError("FAILED_PRECONDITION", f"{account.email} is disabled.")
        if call.body.get("delegates"):
            raise invalid("delegates", "Chains of delegates are not modelled.")
        scopes = " ".join(call.body.get("scope", []))
        seconds = int(call.body.get("lifetime", "3600s").rstrip("s").partition(".")[0])
        principal = Principal(
            f"serviceAccount:{account.email}", account.project.project_id, account.unique_id
        )
        issued = self._tokens.issue(principal, scopes, seconds)
        return {"accessToken": issued["access_token"], "expireTime": after(seconds)}

    def _account(self, call: Call, permission: str) -> ServiceAccount:
        project, account = call.project(), self._accounts.get(call.parts[3])
        call.require(permission, project, *([account.policy] if account else []))
        if account is None or account.project is not project:
            raise GoogleError("NOT_FOUND", f"Unknown service account: {call.resource}")
        return account
