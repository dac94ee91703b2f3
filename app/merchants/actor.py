"""Who does a thing: a person, a key of the API, or whoever runs the server.

Services take an actor where a rule depends on it, or where the audit log names them.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.errors import PermissionDenied
from app.merchants.roles import Permission

ALL = frozenset(Permission)


@dataclass(frozen=True, slots=True)
class Actor:
    """``name`` is what the audit log says: an e-mail address, a key's id, or ``server``."""

    name: str
    permissions: frozenset[Permission] = frozenset()  # none: to be named in the log, and no more
    role: str = ""
    user_id: str | None = None  # of a person
    address: str = ""  # where they sit

    @property
    def is_key(self) -> bool:
        """Whether a system asks, over the API."""
        return self.name.startswith("key_")

    def require(self, permission: Permission) -> None:
        """Raises PermissionDenied."""
        if permission not in self.permissions:
            raise PermissionDenied(f"this takes the permission {permission}", code="role_insufficient")


# Who has a shell on the machine has the database, too.
SERVER = Actor("server", ALL, "owner")
