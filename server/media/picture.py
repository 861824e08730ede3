"""Pictures: written anew without what does not show, and small. Owner of Pillow; runs in a process of its own only.

Rule 1: its size is asked before anything is decoded, and a picture that ends too early is refused.
Rule 2: what is written has pixels and nothing else: no place, no camera, no comment, no second file behind it.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from typing import Any, BinaryIO

from PIL import AvifImagePlugin, GifImagePlugin, Image, ImageCms, ImageFile, ImageOps, WebPImagePlugin

from server.media.job import Bounds, Done, Job, Made, Name, Rejected, Told

_FORMATS = {"image/png": "PNG", "image/jpeg": "JPEG", "image/gif": "GIF", "image/webp": "WEBP", "image/avif": "AVIF"}
_WRITTEN: Mapping[str, tuple[str, dict[str, Any]]] = {
    "image/jpeg": ("JPEG", {"quality": 90, "optimize": True}),
    "image/png": ("PNG", {"compress_level": 4}),
    "image/webp": ("WEBP", {"quality": 88, "method": 3}),
}
_AS = {"image/jpeg": "image/jpeg", "image/png": "image/png", "image/gif": "image/png"}  # WebP for all others
_MOVING = {"quality": 75, "method": 1, "minimize_size": False}
_SMALL, _LARGE, _TINY = 320, 1280, 16
_MANY = 10_000_000
_LOADED = (AvifImagePlugin, GifImagePlugin, WebPImagePlugin)  # while files can still be read


def prepare() -> None:
    """Load what decodes, and nothing that is not asked for."""
    Image.preinit()
    Image.MAX_IMAGE_PIXELS = None  # `check` has the bounds
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    warnings.simplefilter("ignore")


def process(source: BinaryIO, job: Job, out: Mapping[Name, BinaryIO], told: Told) -> Done:
    """What becomes of a picture."""
    if job.type == "image/webp":  # its decoder takes the memory as soon as it is opened
        check(*_size_of_webp(source.read(30)), job.bounds)
        source.seek(0)
    with Image.open(source, formats=(_FORMATS[job.type],)) as image:
        check(image.width, image.height, job.bounds)
        frames = 1 if job.type == "image/jpeg" else getattr(image, "n_frames", 1)
        if frames > 1:
            return _moving(image, frames, job.bounds, out, told)
        image.load()
        told(0.3)
        still = flat(image)
    return _still(still, _AS.get(job.type, "image/webp"), out, told)


def check(width: int, height: int, bounds: Bounds) -> None:
    """Refuse what would be too large in memory."""
    if max(width, height) > bounds.side or width * height > bounds.pixels:
        raise Rejected("too_large_picture", f"{width} x {height}")


def _size_of_webp(head: bytes) -> tuple[int, int]:
    """As the first part of the file has it."""
    kind, number = head[12:16], int.from_bytes
    if kind == b"VP8X":
        return 1 + number(head[24:27], "little"), 1 + number(head[27:30], "little")
    if kind == b"VP8L":
        bits = number(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return number(head[26:28], "little") & 0x3FFF, number(head[28:30], "little") & 0x3FFF


def flat(image: Image.Image) -> Image.Image:
    """Upright, in the colours that every screen takes it for, with nothing but its pixels."""
    ImageOps.exif_transpose(image, in_place=True)
    found = _screen_colours(image, "RGBA" if image.has_transparency_data else "RGB")
    found.info.clear()
    return found


def _screen_colours(image: Image.Image, mode: str) -> Image.Image:
    profile = image.info.get("icc_profile")
    if profile and image.mode in ("RGB", "RGBA", "CMYK"):
        try:
            screen = ImageCms.createProfile("sRGB")
            own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if image.mode == "CMYK":
                image = ImageCms.profileToProfile(image, own, screen, outputMode="RGB") or image
            else:
                ImageCms.profileToProfile(image, own, screen, inPlace=True)
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # as if it had none
    if image.mode.startswith("I;16"):
        image = image.point(lambda value: value / 256).convert("L")
    return image if image.mode == mode else image.convert(mode)


def _still(image: Image.Image, kind: str, out: Mapping[Name, BinaryIO], told: Told) -> Done:
    made = [_write(image, "original", kind, out)]
    told(0.7)
    made += thumbnails(image, out)
    return Done(kind="image", width=image.width, height=image.height, preview=tiny(image), made=made)


def _moving(image: Image.Image, frames: int, bounds: Bounds, out: Mapping[Name, BinaryIO], told: Told) -> Done:
    """Any animation becomes one in WebP, frame by frame."""
    if frames > bounds.frames or frames * image.width * image.height > bounds.frame_pixels:
        raise Rejected("too_large_picture", f"{frames} frames of {image.width} x {image.height}")
    loop = image.info.get("loop", 1 if image.format == "GIF" else 0)
    durations = []
    for frame in range(frames):
        image.seek(frame)
        if image.format in ("WEBP", "AVIF"):
            image.load()  # only then it knows how long
        durations.append(_shown_for(image))
        told(0.4 * frame / frames)
    image.seek(0)
    first = flat(image.copy())
    image.info.clear()
    image.save(out["original"], "WEBP", save_all=True, duration=durations, loop=int(loop), **_MOVING)
    told(0.9)
    made = [Made("original", "image/webp", image.width, image.height), *thumbnails(first, out)]
    total = sum(durations) / 1000
    return Done("animation", image.width, image.height, total, preview=tiny(first), made=made)


def _shown_for(image: Image.Image) -> int:
    """Milliseconds; those that say nothing sensible are shown as long as browsers do."""
    said = image.info.get("duration", 0)
    return int(said) if isinstance(said, int | float) and 20 <= said <= 60_000 else 100


def thumbnails(image: Image.Image, out: Mapping[Name, BinaryIO]) -> list[Made]:
    """As small as lists show it, and as large as a window; only where that is smaller than it is."""
    made = []
    sizes: tuple[tuple[Name, int], ...] = (("thumbnail_large", _LARGE), ("thumbnail", _SMALL))
    for name, size in sizes:
        if max(image.size) > size:
            image = image.copy()
            image.thumbnail((size, size), Image.Resampling.LANCZOS, reducing_gap=3.0)
            made.append(_write(image, name, "image/webp", out))
    return made


def poster(image: Image.Image, out: Mapping[Name, BinaryIO]) -> list[Made]:
    """A picture of a video, and its thumbnails."""
    shown = image.copy()
    shown.thumbnail((_LARGE, _LARGE), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return [_write(shown, "poster", "image/webp", out), *thumbnails(shown, out)]


def tiny(image: Image.Image) -> bytes:
    """A few pixels, to be shown blurred until there is more."""
    scale = _TINY / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    small = image.convert("RGBA").resize(size, Image.Resampling.BOX)
    ground = Image.new("RGBA", size, "white")
    found = io.BytesIO()
    Image.alpha_composite(ground, small).convert("RGB").save(found, "WEBP", quality=30, method=6)
    return found.getvalue()


def _write(image: Image.Image, name: Name, kind: Any, out: Mapping[Name, BinaryIO]) -> Made:
    shape, options = _WRITTEN[kind]
    if kind == "image/webp" and image.width * image.height > _MANY:
        options = {**options, "method": 0}  # half a minute less
    image.save(out[name], shape, **options)
    return Made(name, kind, image.width, image.height)
