"""Clients that know what they were told, and a state machine that judges them: see tests/test_state.py.

- view: what a client knows, and what facts make of it; counts: how it keeps counts without holding messages
- device: a client with a socket that comes and goes; reading: what one that comes anew is told, in every way
- words: what was answered to those who said something
- world: three people with seven devices on two nodes
- rules, and those of channels, messages, polls, people and calls: what they do, as hypothesis draws and shortens it
"""

import pytest

pytest.register_assert_rewrite(*(f"tests.state.{name}" for name in ("device", "reading", "view", "words", "world")))
