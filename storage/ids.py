"""UUIDv7: ids that sort by the time they were made, whatever PostgreSQL is in use."""

import os
import time
from uuid import UUID


def new_id() -> UUID:
    """A fresh id: 48 bits of milliseconds, 74 random bits."""
    random = int.from_bytes(os.urandom(10), "big")
    value = (time.time_ns() // 1_000_000) << 80 | random
    value = value & ~(0xF << 76) | 0x7 << 76
    return UUID(int=value & ~(0x3 << 62) | 0x2 << 62)
