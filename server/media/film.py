"""Video and sound: what they are, a picture of a video, the shape of a sound.

Owner of PyAV; runs in a process of its own only.

Rule 1: the container is the one that the signature named; nothing is probed, and nothing outside of the file is opened.
Rule 2: only the decoders that browsers have are used; what else is inside is a file to save.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import av
import av.logging
from av.audio.resampler import AudioResampler

from server.media import picture
from server.media.job import WAVEFORM, Done, Job, Name, Rejected, Told

_CONTAINERS = {
    "video/mp4": "mov",
    "video/quicktime": "mov",
    "audio/mp4": "mov",
    "video/webm": "matroska",
    "audio/ogg": "ogg",
    "audio/mpeg": "mp3",
    "audio/flac": "flac",
    "audio/wav": "wav",
}
_VIDEO = frozenset({"h264", "hevc", "vp8", "vp9", "av1", "libdav1d"})
_AUDIO = frozenset(
    {"aac", "opus", "libopus", "vorbis", "mp3", "mp3float", "flac", "pcm_s16le", "pcm_s24le", "pcm_f32le"}
)
_VOICES = frozenset({"audio/ogg", "video/webm", "audio/mp4", "video/mp4"})
_RATE, _WINDOW = 8000, 160
_PACKETS_TO_A_PICTURE = 500


def prepare() -> None:
    """Load what decodes."""
    picture.prepare()
    av.logging.set_level(None)


def process(source: BinaryIO, job: Job, out: Mapping[Name, BinaryIO], told: Told) -> Done:
    """What is in a container."""
    voice = job.purpose == "voice"
    if voice and job.type not in _VOICES:
        raise Rejected("wrong_type", f"a voice message is no {job.type}")
    options = {"codec_whitelist": ",".join(sorted(_VIDEO | _AUDIO)), "protocol_whitelist": ""}
    with av.open(
        source, format=_CONTAINERS[job.type], container_options=options, metadata_errors="ignore"
    ) as container:
        videos = [one for one in container.streams.video if not _cover(one)]
        if videos and not voice:
            return _film(container, videos[0], job, out, told)
        if videos or not container.streams.audio:
            raise Rejected("wrong_type" if videos else "unreadable", "no sound alone")
        return _sound(container, container.streams.audio[0], job, told, voice)


def _cover(stream: Any) -> bool:
    """Whether it is the picture of a record, not a video."""
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _film(container: Any, stream: Any, job: Job, out: Mapping[Name, BinaryIO], told: Told) -> Done:
    if _codec(stream) not in _VIDEO:
        return Done(kind="other")
    picture.check(stream.codec_context.width, stream.codec_context.height, job.bounds)
    duration = _duration(container, stream)
    told(0.3)
    frame = _frame(container, stream, duration)
    picture.check(frame.width, frame.height, job.bounds)
    image = frame.to_image()
    if frame.rotation % 360:
        image = image.rotate(frame.rotation, expand=True)
    told(0.7)
    made = picture.poster(image, out)
    return Done("video", image.width, image.height, duration, preview=picture.tiny(image), made=made)


def _codec(stream: Any) -> str:
    return str(stream.codec_context.name) if stream.codec_context is not None else ""


def _duration(container: Any, stream: Any) -> float | None:
    """Seconds; what is recorded by browsers says nothing about it, and has to be walked through."""
    if container.duration is not None:
        return max(0.0, float(container.duration) / 1_000_000)
    last = 0.0
    for packet in container.demux(stream):
        if packet.pts is not None and packet.time_base is not None:
            last = max(last, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    container.seek(0)
    return last or None


def _frame(container: Any, stream: Any, duration: float | None) -> Any:
    """One of a second into it, or of a tenth of it; the first where there is none."""
    stream.thread_type = "NONE"
    stream.codec_context.thread_count = 1
    for at in (int(1_000_000 * min(1.0, (duration or 0) / 10)), 0):
        container.seek(at)
        for count, packet in enumerate(container.demux(stream)):
            for frame in packet.decode():
                return frame
            if count > _PACKETS_TO_A_PICTURE:
                break
    raise Rejected("unreadable", "no picture in it")


def _sound(container: Any, stream: Any, job: Job, told: Told, voice: bool) -> Done:
    if _codec(stream) not in _AUDIO:
        return Done(kind="other")
    said = None if container.duration is None else float(container.duration) / 1_000_000
    most = job.bounds.voice if voice else job.bounds.waveform
    if said is not None and said > most and not voice:
        return Done(kind="audio", duration=said)
    peaks: list[int] = []
    for peak in _peaks(container, stream):
        peaks.append(peak)
        if len(peaks) * _WINDOW > most * _RATE:
            if voice:
                raise Rejected("too_long", f"more than {most} seconds")
            return Done(kind="audio", duration=said)
        if len(peaks) % 500 == 0:
            told(min(0.9, len(peaks) * _WINDOW / _RATE / (said or most)))
    if not peaks:
        raise Rejected("unreadable", "no sound in it")
    return Done(kind="audio", duration=len(peaks) * _WINDOW / _RATE, waveform=waveform(peaks))


def _peaks(container: Any, stream: Any) -> Iterator[int]:
    """How loud each fiftieth of a second is at most, to 32768."""
    resampler, rest = AudioResampler(format="s16", layout="mono", rate=_RATE), b""
    for packet in container.demux(stream):
        for frame in packet.decode():
            for part in resampler.resample(frame):
                rest += bytes(part.planes[0])[: part.samples * 2]
            whole = len(rest) - len(rest) % (2 * _WINDOW)
            yield from (_loudest(rest[at : at + 2 * _WINDOW]) for at in range(0, whole, 2 * _WINDOW))
            rest = rest[whole:]
    if rest:
        yield _loudest(rest)


def _loudest(part: bytes) -> int:
    samples = memoryview(part).cast("h")
    highest, lowest = max(samples), min(samples)
    return max(highest, -lowest)


def waveform(peaks: list[int]) -> bytes:
    """Sixty-four bars, the loudest of which is whole."""
    loudest = max(peaks) or 1
    bars = []
    for bar in range(WAVEFORM):
        first = bar * len(peaks) // WAVEFORM
        part = peaks[first : max(first + 1, (bar + 1) * len(peaks) // WAVEFORM)]
        bars.append(min(255, 255 * max(part) // loudest))
    return bytes(bars)
