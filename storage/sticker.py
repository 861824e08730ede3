"""sticker: those of spaces."""

from protocol.sticker import Sticker
from storage.emblem import Emblems

STICKERS = Emblems("sticker", Sticker)
