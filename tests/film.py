"""Pictures, videos and sounds for tests, made when they are needed."""

import array
import io
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from PIL import Image

_RATE, _PART = 48_000, 960


def picture(shape: str, size: tuple[int, int] = (64, 48), colour: Any = (200, 40, 40), **options: Any) -> bytes:
    """A picture of one colour."""
    found = io.BytesIO()
    Image.new(options.pop("mode", "RGB"), size, colour).save(found, shape, **options)
    return found.getvalue()


def animation(shape: str, frames: int = 3, size: tuple[int, int] = (40, 30), **options: Any) -> bytes:
    """A picture that moves: no two frames are the same."""
    found = io.BytesIO()
    first, *rest = [Image.new("RGB", size, ((at * 37) % 256, at % 256, at // 256)) for at in range(frames)]
    first.save(found, shape, save_all=True, append_images=rest, **{"duration": 80, "loop": 0, **options})
    return found.getvalue()


def video(path: Path, shape: str, codec: str, sound: str | None = None, size: tuple[int, int] = (320, 240)) -> Path:
    """Two seconds."""
    with av.open(str(path), "w", format=shape) as container:
        stream: Any = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        heard = container.add_stream(sound, rate=_RATE, layout="mono") if sound else None
        for at in range(20):
            for packet in stream.encode(av.VideoFrame.from_image(Image.new("RGB", size, (at * 12, 90, 200)))):
                container.mux(packet)
        container.mux(stream.encode())
        if heard is not None:
            _play(container, heard, 2)
    return path


def audio(path: Path, shape: str, codec: str, seconds: float = 0.5) -> Path:
    """A tone that gets louder."""
    with av.open(str(path), "w", format=shape) as container:
        _play(container, container.add_stream(codec, rate=_RATE, layout="mono"), seconds)
    return path


def _play(container: Any, stream: Any, seconds: float) -> None:
    resampler = av.AudioResampler(format=stream.format.name, layout="mono", rate=_RATE)
    parts = int(seconds * _RATE / _PART)
    for part in range(parts):
        frame = av.AudioFrame(format="s16", layout="mono", samples=_PART)
        frame.rate, frame.pts, frame.time_base = _RATE, part * _PART, Fraction(1, _RATE)
        tone = [int(25_000 * part / parts * math.sin(at * 0.06)) for at in range(_PART)]
        frame.planes[0].update(array.array("h", tone).tobytes())
        for ready in resampler.resample(frame):
            container.mux(stream.encode(ready))
    container.mux(stream.encode(None))
