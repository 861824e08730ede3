"""emoji: those of spaces."""

from protocol.emoji import Emoji
from storage.emblem import Emblems

EMOJI = Emblems("emoji", Emoji)
