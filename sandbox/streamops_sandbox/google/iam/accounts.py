"""IAM v1 and IAM Service Account Credentials v1: service accounts and acting as them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from streamops_sandbox.google.errors import GoogleError, invalid, permission_denied
from streamops_sandbox.google.iam.policies import Policy, allowed
from streamops_sandbox.google.iam.principals import Principal
from streamops_sandbox.google.oauth.tokens import Tokens
from streamops_sandbox.google.projects import Project
from streamops_sandbox.google.service import Call, serves, serves_policies
from streamops_sandbox.objects import Object
from streamops_sandbox.timestamps import rfc3339

_ACCOUNT_ID = re.compile(r"[a-z]([-a-z0-9]{4,28}[a-z0-9])")
MAX_TOKEN_SECONDS = 3600


@dataclass(slots=True)
class ServiceAccount:
    """One service account."""

    project: Project
    email: str
    unique_id: str
    display_name: str = ""
    description: str = ""
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
            "displayName": self.display_name,
            "description": self.description,
            "disabled": self.disabled,
        }
        return {name: value for name, value in shown.items() if value}


class Iam:
    """Service accounts of all projects; their keys are not modelled."""

    def __init__(self, tokens: Tokens, project: Project, owner: Principal) -> None:
        """`owner` is the account that exists from the start, in `project`."""
        self._tokens = tokens
        account = ServiceAccount(project, owner.email, owner.unique_id, "Automation")
        self._accounts = {owner.email: account}

    @serves("iam.projects.serviceAccounts.create")
    async def create(self, call: Call) -> Object:
        """Create a service account."""
        project = call.project()
        parent = f"projects/{project.project_id}"
        call.require("iam.serviceAccounts.create", parent, project)
        account_id = call.body.get("accountId", "")
        if not _ACCOUNT_ID.fullmatch(account_id):
            raise invalid(
                "account_id",
                f'The account ID "{account_id}" does not have a length between 6 and 30 or does'
                " not match the pattern [a-z]([-a-z0-9]*[a-z0-9]).",
            )
        email = f"{account_id}@{project.project_id}.iam.gserviceaccount.com"
        if email in self._accounts:
            raise GoogleError(
                "ALREADY_EXISTS",
                f"Service account {account_id} already exists within project {parent}.",
            )
        wanted = call.body.get("serviceAccount", {})
        account = ServiceAccount(project, email, str(10**20 + call.state.next_id()))
        _describe(account, wanted)
        self._accounts[email] = account
        return account.shown()

    @serves("iam.projects.serviceAccounts.get")
    async def get(self, call: Call) -> Object:
        """Read a service account."""
        return self._account(call, "iam.serviceAccounts.get").shown()

    @serves("iam.projects.serviceAccounts.list")
    async def list_all(self, call: Call) -> Object:
        """Read the project's service accounts."""
        project = call.project()
        call.require("iam.serviceAccounts.list", f"projects/{project.project_id}", project)
        accounts = [a.shown() for a in self._accounts.values() if a.project is project]
        return call.page("accounts", accounts, 20)

    @serves("iam.projects.serviceAccounts.patch")
    async def patch(self, call: Call) -> Object:
        """Change the display name and the description."""
        account = self._account(call, "iam.serviceAccounts.update")
        wanted = call.body.get("serviceAccount", {})
        mask = {path for path in call.body.get("updateMask", "").split(",") if path}
        names = {"displayName": "display_name", "description": "description"}
        if not mask or not mask <= {*names, *names.values()}:
            raise invalid("update_mask", f"Only {' and '.join(names)} can be updated.")
        if wanted.get("etag") not in (None, account.shown()["etag"]):
            raise GoogleError("ABORTED", "There were concurrent changes: the etag does not match.")
        chosen = {k: wanted.get(k, "") for k, field in names.items() if {k, field} & mask}
        _describe(account, {**account.shown(), **chosen})
        account.generation += 1
        return account.shown()

    @serves("iam.projects.serviceAccounts.delete")
    async def delete(self, call: Call) -> Object:
        """Delete a service account; its keys and tokens end with it."""
        account = self._account(call, "iam.serviceAccounts.delete")
        del self._accounts[account.email]
        self._tokens.forget_account(account.email)
        return {}

    @serves("iam.projects.serviceAccounts.disable")
    async def disable(self, call: Call) -> Object:
        """Take the account out of use."""
        self._account(call, "iam.serviceAccounts.disable").disabled = True
        return {}

    @serves("iam.projects.serviceAccounts.enable")
    async def enable(self, call: Call) -> Object:
        """Put the account back into use."""
        self._account(call, "iam.serviceAccounts.enable").disabled = False
        return {}

    @serves_policies("iam.projects.serviceAccounts", "iam.serviceAccounts")
    def policy(self, call: Call, permission: str) -> Policy:
        """Who may act as the account."""
        return self._account(call, permission).policy

    @serves("iamcredentials.projects.serviceAccounts.generateAccessToken")
    async def generate_access_token(self, call: Call) -> Object:
        """A token of the account, for who may act as it."""
        permission = "iam.serviceAccounts.getAccessToken"
        account = self._accounts.get(call.parts[3])
        policies = [account.policy, account.project.policy] if account else []
        if account is None or not allowed(call.principal, permission, policies):
            raise permission_denied(permission, call.resource)
        if account.disabled:
            raise GoogleError("FAILED_PRECONDITION", f"{account.email} is disabled.")
        if call.body.get("delegates"):
            raise invalid("delegates", "Chains of delegates are not modelled.")
        scopes = call.body.get("scope", [])
        if not scopes:
            raise invalid("scope", "Request contains an invalid argument: scope is required.")
        seconds = int(call.body.get("lifetime", "3600s").rstrip("s").partition(".")[0])
        if not 0 < seconds <= MAX_TOKEN_SECONDS:
            raise invalid("lifetime", f"At most {MAX_TOKEN_SECONDS}s.")
        principal = Principal(
            f"serviceAccount:{account.email}", account.project.project_id, account.unique_id
        )
        issued = self._tokens.issue(principal, " ".join(scopes), seconds)
        expiry = datetime.now(UTC) + timedelta(seconds=seconds)
        return {
            "accessToken": issued["access_token"],
            "expireTime": rfc3339(expiry),
        }

    def _account(self, call: Call, permission: str) -> ServiceAccount:
        """The account by its e-mail address or number; the project may be `-`."""
        wanted = call.parts[3]
        account = self._accounts.get(wanted) or next(
            (a for a in self._accounts.values() if a.unique_id == wanted), None
        )
        if call.parts[1] == "-" and account:
            project = account.project
            call.state.require_service(project, call.method.service, call.method.api.title)
        else:
            project = call.project()
        policies = [account.policy] if account else []
        call.require(permission, call.resource, project, *policies)
        if account is None or account.project is not project:
            raise GoogleError("NOT_FOUND", f"Unknown service account: {call.resource}")
        return account


def _describe(account: ServiceAccount, wanted: Object) -> None:
    display, description = wanted.get("displayName", ""), wanted.get("description", "")
    if len(display.encode()) > 100 or len(description.encode()) > 256:
        raise invalid("service_account", "displayName takes 100 bytes, description 256.")
    account.display_name, account.description = display, description
