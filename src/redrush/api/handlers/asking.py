"""What all handlers of the admin API have in common: what a request is, who asks, and the names of parameters."""

from typing import Annotated, Any, Final

from litestar import Request
from litestar.di import NamedDependency
from litestar.params import PathParameter, QueryParameter

from redrush.api.access import Actor, actor_in, needs, needs_proof
from redrush.api.accounts import Role
from redrush.api.desk import Desk

VIEWER: Final = needs(Role.VIEWER)
OPERATOR: Final = needs(Role.OPERATOR)
ADMIN: Final = needs(Role.ADMIN)
PROVED_VIEWER: Final = needs_proof(Role.VIEWER)
PROVED_ADMIN: Final = needs_proof(Role.ADMIN)

AnyRequest = Request[Any, Any, Any]
Name = Annotated[str, PathParameter(min_length=1, max_length=200)]
TheDesk = NamedDependency[Desk]
CookieName = NamedDependency[str]
Secure = NamedDependency[bool]
Campaign = Annotated[str | None, QueryParameter(max_length=200, description="The first one by default.")]


def actor_of(request: AnyRequest) -> Actor:
    """Return who asks, of a handler that is not open to anybody."""
    actor = actor_in(request)
    assert actor is not None
    return actor
