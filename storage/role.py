"""role: what members of a space may do, by name. The space's stream is held by who writes here."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from protocol.permission import bits
from protocol.role import Role
from storage.pool import Transaction


async def create(tx: Transaction, space: UUID, role: Role, nonce: UUID | None) -> None:
    """A role, right above everyone's: the others move up."""
    await tx.execute(
        "UPDATE role SET position = position + 1 WHERE space = $1 AND position >= $2", space, role.position
    )
    await tx.execute(
        """
        INSERT INTO role (id, space, name, colour, position, permissions, apart, mentionable, nonce)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        """,
        role.id,
        space,
        role.name,
        role.colour,
        role.position,
        bits(role.permissions),
        role.apart,
        role.mentionable,
        nonce,
    )


async def made_with(tx: Transaction, space: UUID, nonce: UUID) -> UUID | None:
    """The role that this nonce has made there."""
    found: UUID | None = await tx.fetchval("SELECT id FROM role WHERE space = $1 AND nonce = $2", space, nonce)
    return found


async def update(tx: Transaction, space: UUID, role: Role) -> None:
    """What can change of a role."""
    await tx.execute(
        """
        UPDATE role SET name = $3, colour = $4, permissions = $5, apart = $6, mentionable = $7
         WHERE space = $1 AND id = $2
        """,
        space,
        role.id,
        role.name,
        role.colour,
        bits(role.permissions),
        role.apart,
        role.mentionable,
    )


async def delete(tx: Transaction, space: UUID, role: UUID) -> None:
    """Nobody has it any more; that members still name it means nothing."""
    await tx.execute(
        "DELETE FROM overwrite o USING channel c WHERE c.id = o.channel AND c.space = $1 AND o.target = $2", space, role
    )
    await tx.execute("DELETE FROM role WHERE space = $1 AND id = $2", space, role)


async def reorder(tx: Transaction, space: UUID, roles: Sequence[UUID]) -> None:
    """The lowest first, from right above everyone's on."""
    await tx.execute(
        """
        UPDATE role r SET position = n.position FROM unnest($2::uuid[]) WITH ORDINALITY AS n(id, position)
         WHERE r.space = $1 AND r.id = n.id
        """,
        space,
        list(roles),
    )


async def grant(tx: Transaction, space: UUID, account: UUID, role: UUID) -> None:
    """Give it to a member, once."""
    await tx.execute(
        """
        UPDATE space_member SET roles = array_append(array_remove(roles, $3), $3) WHERE space = $1 AND account = $2
        """,
        space,
        account,
        role,
    )


async def revoke(tx: Transaction, space: UUID, account: UUID, role: UUID) -> None:
    """Take it from a member."""
    await tx.execute(
        "UPDATE space_member SET roles = array_remove(roles, $3) WHERE space = $1 AND account = $2",
        space,
        account,
        role,
    )
