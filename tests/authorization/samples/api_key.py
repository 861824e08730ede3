"""api_key: one's own programs."""

from protocol.api_key import ApiKeyCreate, ApiKeyList, ApiKeyRevoke
from tests.authorization.sample import Sample, Wrong
from tests.authorization.samples import proofs
from tests.authorization.world import World


def _create(world: World) -> ApiKeyCreate:
    return ApiKeyCreate(name="new", password=world.ann.password, scopes=["user"])


SAMPLES = {
    "create": Sample(
        _create,
        wrong={
            **proofs.password(_create),
            "a scope that does not exist": Wrong(
                "invalid", lambda world: ApiKeyCreate(name="new", password=world.ann.password, scopes=["nothing"])
            ),
        },
    ),
    "list": Sample(lambda world: ApiKeyList(), proves=lambda reply: len(reply["keys"]) >= 2),
    "revoke": Sample(lambda world: ApiKeyRevoke(key=world.ann.full.id)),
}
