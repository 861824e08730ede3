"""audit: one's own events."""

from protocol.audit import AuditList
from tests.authorization.sample import Sample

SAMPLES = {"list": Sample(lambda world: AuditList(), proves=lambda reply: len(reply["entries"]) >= 2)}
