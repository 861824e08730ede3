"""media: what becomes of pictures, videos and sounds that people send; each is looked at in a process of its own."""

import asyncio
import base64
import io
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from PIL import ExifTags, Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from server.media import child
from server.media.job import Bounds, Rejected, Result, Variant
from server.media.processor import Processor
from server.media.sniff import shown_name
from tests import film

Look = Callable[..., Awaitable[Result]]


@pytest.fixture
async def processor(tmp_path: Path) -> AsyncIterator[Processor]:
    one = Processor(tmp_path / "scratch", Bounds(voice=1))
    yield one
    await one.stop()
    assert not (tmp_path / "scratch").exists()


@pytest.fixture
def look(processor: Processor, tmp_path: Path) -> Look:
    """Looks at bytes, or at a file."""

    async def begin(content: bytes | Path, purpose: str = "attachment", declared: str = "", name: str = "a") -> Result:
        path = content if isinstance(content, Path) else tmp_path / os.urandom(4).hex()
        if isinstance(content, bytes):
            path.write_bytes(content)
        return await processor.run(path, purpose, name, declared)

    return begin


def variant(result: Result, name: str) -> Variant:
    return next(one for one in result.variants if one.name == name)


def shown(result: Result, name: str = "original") -> Image.Image:
    """A picture that was made, which is what it was said to be."""
    made = variant(result, name)
    image = Image.open(io.BytesIO(made.path.read_bytes()))
    assert (Image.MIME[image.format or ""], image.size) == (made.type, (made.width, made.height))
    assert made.size == made.path.stat().st_size
    return image


async def test_a_photo_is_written_anew_upright_and_without_what_does_not_show(look: Look) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation], exif[ExifTags.Base.Make] = 6, "a camera of mine"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (52.0, 31.0, 12.0)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photo = film.picture(
        "JPEG", (1600, 900), exif=exif, comment=b"my address", xmp=b"<x>a name</x>", icc_profile=profile
    )
    result = await look(photo + b"<script>alert(1)</script>", declared="image/jpeg")
    assert (result.kind, result.type, result.inline) == ("image", "image/jpeg", True)
    assert (result.width, result.height) == (900, 1600)
    again = shown(result)
    assert not again.getexif()
    assert {"icc_profile", "comment", "xmp", "exif"} & again.info.keys() == set()
    written = variant(result, "original").path.read_bytes()
    assert not [word for word in (b"camera", b"my address", b"a name", b"script") if word in written]
    red, green, blue = again.getpixel((10, 10))  # type: ignore[misc]
    assert max(abs(red - 200), abs(green - 40), abs(blue - 40)) < 8
    assert shown(result, "thumbnail").size == (180, 320)
    assert shown(result, "thumbnail_large").size == (720, 1280)
    blurred = base64.b64decode(result.preview or "")
    assert len(blurred) < 300
    assert Image.open(io.BytesIO(blurred)).size == (9, 16)
    assert {path.name for path in result.folder.iterdir()} == {"original", "thumbnail", "thumbnail_large"}


async def test_a_picture_stays_see_through_and_of_its_kind(look: Look) -> None:
    notes = PngInfo()
    notes.add_text("Author", "somebody at home")
    png = film.picture("PNG", (400, 10), (0, 0, 255, 0), mode="RGBA", pnginfo=notes)
    deep = film.picture("PNG", (8, 8), 40_000, mode="I;16")
    printed = film.picture("JPEG", (8, 8), (0, 255, 255, 0), mode="CMYK")
    webp, avif, gif = (film.picture(shape, (30, 20)) for shape in ("WEBP", "AVIF", "GIF"))
    results = await asyncio.gather(*(look(one) for one in (png, deep, webp, avif, gif, printed)))
    kinds = ["image/png", "image/png", "image/webp", "image/webp", "image/png", "image/jpeg"]
    assert [(one.kind, one.type) for one in results] == [("image", kind) for kind in kinds]
    assert [len(one.variants) for one in results] == [2, 1, 1, 1, 1, 1]
    assert shown(results[5]).getpixel((4, 4))[0] > 200  # type: ignore[index]
    assert shown(results[0]).getpixel((5, 5))[3] == 0  # type: ignore[index]
    assert shown(results[0], "thumbnail").getpixel((5, 5))[3] == 0  # type: ignore[index]
    assert b"somebody" not in variant(results[0], "original").path.read_bytes()
    assert shown(results[1]).getpixel((1, 1)) == (156, 156, 156)


async def test_what_moves_goes_on_moving(look: Look) -> None:
    moving = [film.animation("GIF"), film.animation("WEBP"), film.animation("PNG")]
    for result in await asyncio.gather(*map(look, moving)):
        assert (result.kind, result.type, result.duration) == ("animation", "image/webp", pytest.approx(0.24))
        again = shown(result)
        assert again.n_frames == 3  # type: ignore[attr-defined]
        again.seek(2)
        assert again.convert("RGB").getpixel((3, 3))[0] in range(66, 83)  # type: ignore[index]
        assert (again.info["loop"], again.info["duration"]) == (0, 80)


async def test_a_video_has_a_poster_and_a_length(look: Look, tmp_path: Path) -> None:
    mp4 = film.video(tmp_path / "a.mp4", "mp4", "libx264", "aac", (640, 360))
    webm = film.video(tmp_path / "a.webm", "webm", "libvpx")
    for result, size in zip(await asyncio.gather(look(mp4), look(webm)), [(640, 360), (320, 240)], strict=True):
        assert (result.kind, result.inline, result.duration) == ("video", True, pytest.approx(2, abs=0.1))
        assert (result.width, result.height) == size
        assert shown(result, "poster").size == size
        assert result.preview is not None
        assert "original" not in {one.name for one in result.variants}


async def test_a_sound_has_a_shape_and_a_length(look: Look, tmp_path: Path) -> None:
    files = [
        film.audio(tmp_path / "a.mp3", "mp3", "libmp3lame"),
        film.audio(tmp_path / "a.wav", "wav", "pcm_s16le"),
        film.audio(tmp_path / "a.flac", "flac", "flac"),
    ]
    results = await asyncio.gather(*map(look, files))
    assert [one.type for one in results] == ["audio/mpeg", "audio/wav", "audio/flac"]
    for result in results:
        assert (result.kind, result.duration) == ("audio", pytest.approx(0.5, abs=0.1))
        bars = list(result.waveform or b"")
        assert (len(bars), max(bars)) == (64, 255)
        assert bars[5] < bars[25] < bars[45] < bars[62]


async def test_a_voice_message_is_opus_or_aac_alone_and_not_too_long(look: Look, tmp_path: Path) -> None:
    voices = [
        film.audio(tmp_path / "a.ogg", "ogg", "libopus"),
        film.audio(tmp_path / "a.webm", "webm", "libopus"),
        film.audio(tmp_path / "a.m4a", "ipod", "aac"),
    ]
    results = await asyncio.gather(*(look(one, "voice") for one in voices))
    assert [one.type for one in results] == ["audio/ogg", "audio/webm", "audio/mp4"]
    assert [len(one.waveform or b"") for one in results] == [64, 64, 64]
    assert [one.duration for one in results] == [pytest.approx(0.5, abs=0.1)] * 3
    refused = {
        film.audio(tmp_path / "long.ogg", "ogg", "libopus", 1.5): "too_long",
        film.audio(tmp_path / "a.mp3", "mp3", "libmp3lame"): "wrong_type",
        film.video(tmp_path / "b.webm", "webm", "libvpx", "libopus"): "wrong_type",
    }
    for path, code in refused.items():
        with pytest.raises(Rejected) as rejected:
            await look(path, "voice")
        assert rejected.value.code == code


async def test_what_browsers_would_run_is_never_shown(look: Look) -> None:
    scalable = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>'
    for content in (scalable, b"<!doctype html><script>alert(1)</script>", b"%PDF-1.7", b"PK\x03\x04", b"MZ", b""):
        result = await look(content)
        assert (result.type, result.kind, result.inline) == ("application/octet-stream", "other", False)
        assert result.variants == []


async def test_a_purpose_takes_what_it_is_for(look: Look) -> None:
    assert (await look(film.picture("PNG"), "avatar")).type == "image/png"
    for content, purpose in ((b"<svg/>", "avatar"), (b"text", "emoji"), (film.picture("PNG"), "voice")):
        with pytest.raises(Rejected) as rejected:
            await look(content, purpose)
        assert rejected.value.code == "wrong_type"


async def test_how_far_it_is_comes_meanwhile(processor: Processor, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(film.picture("JPEG", (800, 800)))
    told: list[float] = []
    result = await processor.run(tmp_path / "a", "attachment", "a.jpg", "image/jpeg", told.append)
    assert told == sorted(told)
    assert len(told) >= 3
    assert 0 < told[0] < told[-1] <= 1
    await processor.discard(result)
    assert not result.folder.exists()


async def test_without_pyav_a_video_has_no_poster_and_a_voice_message_is_refused(
    look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare/av.py").write_text("raise ImportError('not installed')")
    monkeypatch.setattr(child, "_ROOT", f"{tmp_path / 'bare'}:{child._ROOT}")
    result = await look(film.video(tmp_path / "a.mp4", "mp4", "libx264"))
    assert (result.type, result.kind, result.variants, result.duration) == ("video/mp4", "video", [], None)
    with pytest.raises(Rejected) as rejected:
        await look(film.audio(tmp_path / "a.ogg", "ogg", "libopus"), "voice")
    assert rejected.value.code == "unsupported"


@pytest.mark.parametrize(
    ("declared", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("/", "file"),
        ("..", "file"),
        ("", "file"),
        ("a\x00b\r\nSet-Cookie: x.png", "abSet-Cookie: x.png"),
        ("photo\u202egnp.exe", "photognp.exe"),
        (" .hidden. ", "hidden"),
        ("ж" * 300 + ".jpeg", "ж" * 115 + ".jpeg"),
        ("x" * 300, "x" * 120),
    ],
)
def test_a_name_is_no_path_and_hides_nothing(declared: str, kept: str) -> None:
    assert shown_name(declared) == kept
