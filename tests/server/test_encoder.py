"""Encoders: exact planes, key frames when asked for, no delay, a rate that can be changed, true time stamps."""

import av
import numpy as np
import pytest

from server.encoder import AUDIO_FRAME, CODECS, AudioEncoder, VideoEncoder, default_bitrate, video_frame
from stage.sound import RATE


def noise(width: int, height: int, k: int = 0) -> np.ndarray:
    """A textured picture that moves with k."""
    rng = np.random.default_rng(0)
    luma = np.kron(rng.integers(40, 200, (height // 8, width // 8)), np.ones((8, 8), int)).astype(np.uint8)
    out = np.full((height * 3 // 2, width), 128, np.uint8)
    out[:height] = np.roll(luma, k, 1)
    return out


def hiss(width: int, height: int, k: int) -> np.ndarray:
    """A picture that is new in every frame, and so costs what the rate allows."""
    out = noise(width, height)
    out[:height] = np.random.default_rng(k).integers(80, 160, (height, width))
    return out


@pytest.mark.parametrize("size", [(64, 64), (100, 52), (722, 406)])
def test_planes_are_copied_row_by_row(size: tuple[int, int]) -> None:
    width, height = size
    i420 = np.random.default_rng(1).integers(0, 256, (height * 3 // 2, width)).astype(np.uint8)
    assert np.array_equal(video_frame(i420, width, height).to_ndarray(), i420)


@pytest.mark.parametrize("codec", CODECS)
def test_every_frame_comes_out_at_once_and_decodes(codec: str) -> None:
    encoder = VideoEncoder(codec, 128, 96, 30, 500_000)
    decoder = av.CodecContext.create("h264" if codec == "H264" else "vp8", "r")
    for k in range(12):
        packet = encoder.encode(noise(128, 96, k), k / 30, key=k == 6)
        assert packet is not None and packet.key == (k in (0, 6))
        assert packet.pts == 3000 * k and packet.packet().pts == packet.pts
        frames = decoder.decode(packet.packet())  # type: ignore[attr-defined]
        assert codec == "H264" or len(frames) == 1  # H264's decoder is one frame late
        for frame in frames:
            k = round((frame.pts or 0) / 3000)
            error = frame.to_ndarray()[:96].astype(float) - noise(128, 96, k)[:96]
            assert np.sqrt((error**2).mean()) < 20


def test_a_key_frame_of_h264_carries_its_parameter_sets() -> None:
    encoder = VideoEncoder("H264", 128, 96, 30, 500_000)
    for k in range(4):
        data = encoder.encode(noise(128, 96, k), k / 30, key=k == 3).data  # type: ignore[union-attr]
    kinds = {data[i + 3] & 0x1F for i in range(len(data) - 3) if data[i : i + 3] == b"\0\0\1"}
    assert {7, 8, 5} <= kinds  # SPS, PPS, IDR


def test_h264_changes_its_rate_without_a_key_frame() -> None:
    encoder = VideoEncoder("H264", 256, 256, 30, 2_000_000)
    size = {}
    for rate in (2_000_000, 300_000):
        encoder.set_bitrate(rate)
        packets = [encoder.encode(hiss(256, 256, k), k / 30, False) for k in range(60)]
        assert all(packets) and not any(p.key for p in packets[1:] if p)
        size[rate] = sum(len(p.data) for p in packets[15:] if p)
    assert size[300_000] < 0.4 * size[2_000_000]


def test_an_unknown_codec_is_refused() -> None:
    with pytest.raises(ValueError, match="AV1"):
        VideoEncoder("AV1", 64, 64, 30, 1)


def test_bitrate_grows_with_the_picture() -> None:
    assert default_bitrate(512, 512, 30) == 1_200_000
    assert default_bitrate(256, 256, 30) < 1_200_000 < default_bitrate(1280, 720, 30) < default_bitrate(1280, 720, 60)


def test_decoded_sound_bears_the_time_it_was_meant_for() -> None:
    encoder, decoder = AudioEncoder(), av.CodecContext.create("libopus", "r")
    decoder.sample_rate = RATE
    start, click = 5 * RATE, 5 * RATE + 4 * AUDIO_FRAME + 480
    heard: list[int] = []
    for k in range(10):
        samples = np.zeros(AUDIO_FRAME, np.int16)
        t = np.arange(AUDIO_FRAME) + start + k * AUDIO_FRAME
        samples[(t >= click)] = (12_000 * np.sin(2 * np.pi * 1000 * (t - click) / RATE))[t >= click]
        packet = encoder.encode(samples, start + k * AUDIO_FRAME)
        assert packet is not None
        for frame in decoder.decode(packet.packet()):
            x = np.abs(frame.to_ndarray().reshape(-1)[:: frame.layout.nb_channels].astype(int))
            heard += [packet.pts + int(i) for i in np.flatnonzero(x > 6_000)]
    assert min(heard) == pytest.approx(click, abs=144)  # 3 ms
