"""What a plan reports where answers are lost and where others change things meanwhile."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from ansible_collections.streamops.knative.plugins.module_utils._google.auth import AuthOptions
from ansible_collections.streamops.knative.plugins.module_utils._google.errors import (
    Aborted,
    GcpError,
    PermissionDenied,
    UnexpectedAnswer,
    Unreachable,
)
from ansible_collections.streamops.knative.plugins.module_utils._google.plan import (
    Plan,
    carry_out,
    is_ambiguous,
)
from ansible_collections.streamops.knative.plugins.module_utils._google.session import (
    Session,
    Settings,
)

LOST = (Unreachable("lost"), UnexpectedAnswer("POST x", "a page"))


class World:
    """Two things to make, and what happens to the requests that make the first."""

    def __init__(self, session: Session, *errors: GcpError, made_before_error: bool = True) -> None:
        self.there: set[str] = set()
        self._session = session
        self._errors = list(errors)
        self._made_before_error = made_before_error

    def plan(self) -> Plan:
        plan = Plan()
        for name in ("a", "b"):
            if name not in self.there:
                plan.add(f"make {name}", functools.partial(self._make, name))
        return plan

    def _make(self, name: str) -> None:
        error = self._errors.pop(0) if self._errors else None
        if error is None or self._made_before_error:
            self.there.add(name)
        if error:
            self._session.writes_in_doubt += is_ambiguous(error)
            raise error


@pytest.fixture
def session() -> Session:
    auth = AuthOptions(auth_kind="accesstoken", scopes=(), access_token="t")
    return Session(Settings(retries=2), auth, sleep=lambda _seconds: None)


def result_of(session: Session, world: World) -> Any:
    with pytest.raises(GcpError) as caught:
        carry_out(session, world.plan(), world.plan)
    return caught.value


@pytest.mark.parametrize("made", [True, False])
@pytest.mark.parametrize("error", LOST)
def test_a_write_whose_answer_was_lost_is_read_back(
    session: Session, error: GcpError, made: bool
) -> None:
    world = World(session, error, made_before_error=made)
    _plan, changes = carry_out(session, world.plan(), world.plan)
    assert changes == ["make a", "make b"]
    assert world.there == {"a", "b"}


def test_what_may_have_been_done_counts_as_changed(session: Session) -> None:
    world = World(session, *[LOST[0]] * 3, made_before_error=False)
    error = result_of(session, world)
    assert error.result == {"changed": True, "changes": ["make a"]}
    assert "Whether this was done is not known: make a." in str(error)


def test_what_was_refused_does_not_count_as_changed(session: Session) -> None:
    refused = PermissionDenied(403, {"error": {"message": "no"}}, "POST x")
    error = result_of(session, World(session, refused, made_before_error=False))
    assert error.result == {"changed": False, "changes": []}


def test_a_conflict_is_planned_anew(session: Session) -> None:
    stale = Aborted(409, {"error": {"message": "etag"}}, "POST x")
    world = World(session, stale, made_before_error=False)
    assert carry_out(session, world.plan(), world.plan)[1] == ["make a", "make b"]
