"""Settings: defaults < a TOML file < TALKSHOT_* in the environment < flags."""

from __future__ import annotations

import dataclasses
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drivers.gesture_style import STYLES

ROOT = Path(__file__).resolve().parent.parent
PREFIX = "TALKSHOT_"
FILE = "talkshot.toml"


class ConfigError(ValueError):
    """A setting that cannot be used; the message names it, its value and what is wanted."""


@dataclass(frozen=True)
class Config:
    host: str = "127.0.0.1"  # this machine only; 0.0.0.0 for all, behind TLS (docs/deployment.md)
    port: int = 8080  # 0: any free port
    avatars: Path = ROOT / "avatars"  # folder of .avatar files
    demo_voice: str = str(ROOT / "server/voices/demo.ogg")  # behind the page's demo button; "": no button
    client: Path = ROOT / "client_web" / "dist"  # the built page
    origins: tuple[str, ...] = ()  # other names the page is reached by, such as https://talk.example.org

    width: int = 512  # default stream size
    height: int = 512
    fps: float = 30.0
    max_side: int = 1280  # px of a stream that a client may ask for
    max_fps: float = 60.0
    bitrate: int = 0  # bit/s of video; 0: by size and frame rate
    threads: int = 2  # of the rasterizer
    device: str = "auto"  # that draws: auto, cpu or cuda

    max_sessions: int = 8
    max_viewers: int = 12  # per session
    max_jobs: int = 8  # builds that wait or run
    idle_timeout: float = 60.0  # s after which a session that nobody watches is closed
    connect_timeout: float = 20.0  # s in which a viewer's connection must stand
    max_photo_mb: float = 32.0
    max_sound_mb: float = 64.0
    max_sound_seconds: float = 600.0
    max_text: int = 20_000  # characters of one text to be spoken

    speech: str = "auto"  # that listens: auto, tiny.en, base, mel, a Whisper checkpoint, or package.module:factory
    voice_url: str = ""  # a voice of your own: an OpenAI-compatible http://.../v1/audio/speech; it becomes the default
    voice_names: tuple[str, ...] = ("alloy",)  # the voices it has
    voice_model: str = "tts-1"
    voice_key: str = ""  # its bearer token, if it wants one
    kokoro_voices: str = ""  # an npz of more voices of Kokoro's, such as its publisher's voices-v1.0.bin
    gesture_url: str = ""  # a gesture model of your own: takes a sentence as WAV, answers SMPL-X npz (docs/http.md)

    style: str = "neutral"  # of gestures: calm, neutral or lively; a session may choose its own

    ice_servers: tuple[str, ...] = ()  # stun:host:port, or turn:user:password@host:port
    udp_ports: tuple[int, ...] = ()  # first, last; empty: any


def load(
    flags: Mapping[str, Any] | None = None, file: Path | None = None, environ: Mapping[str, str] | None = None
) -> Config:
    """All sources merged. `file` None: talkshot.toml in the current folder, if there is one. Raises ConfigError."""
    environ = os.environ if environ is None else environ
    settings = _from_file(file) | _from_environment(environ) | dict(flags or {})
    fields = {f.name: f for f in dataclasses.fields(Config)}
    unknown = sorted(set(settings) - set(fields))
    if unknown:
        raise ConfigError(f"unknown setting {unknown[0]!r}; known are {', '.join(fields)}")
    defaults = Config()
    config = Config(**{name: _typed(name, value, getattr(defaults, name)) for name, value in settings.items()})
    _check(config)
    return config


def _from_file(file: Path | None) -> dict[str, Any]:
    path = file or Path(FILE)
    if file is None and not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        raise ConfigError(f"{path}: cannot be read as TOML ({e})") from e


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    names = {f.name for f in dataclasses.fields(Config)}
    found = {key[len(PREFIX) :].lower(): value for key, value in environ.items() if key.startswith(PREFIX)}
    return {name: value for name, value in found.items() if name in names}  # TALKSHOT_CACHE and others are not ours


def _typed(name: str, value: Any, default: Any) -> Any:
    """A setting as its default's type; text and lists are understood for all."""
    try:
        if isinstance(default, tuple):
            parts = value.replace(",", " ").split() if isinstance(value, str) else list(value)
            return tuple(int(p) for p in parts) if name == "udp_ports" else tuple(str(p) for p in parts)
        if isinstance(value, bool) or not isinstance(value, str | int | float | Path):
            raise ValueError("of the wrong type")
        return Path(str(value)).expanduser() if isinstance(default, Path) else type(default)(value)
    except (TypeError, ValueError) as e:
        wanted = "a list" if isinstance(default, tuple) else f"like {default}"
        raise ConfigError(f"setting {name} is {value!r}, which is not {wanted}") from e


def _check(c: Config) -> None:
    ranges = {
        "port": (0, 65535), "width": (64, c.max_side), "height": (64, c.max_side), "max_side": (64, 4096),
        "fps": (1, c.max_fps), "max_fps": (1, 120), "bitrate": (0, 50_000_000), "threads": (1, 64),
        "max_sessions": (1, 1000), "max_viewers": (1, 1000), "max_jobs": (1, 1000), "idle_timeout": (1, 86_400),
        "connect_timeout": (1, 300), "max_photo_mb": (0.1, 1000), "max_sound_mb": (0.1, 10_000),
        "max_sound_seconds": (1, 86_400), "max_text": (1, 10_000_000),
    }  # fmt: skip
    for name, (low, high) in ranges.items():
        value = getattr(c, name)
        if not low <= value <= high:
            raise ConfigError(f"setting {name} is {value:g}; it must lie between {low:g} and {high:g}")
    if c.device not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"setting device is {c.device!r}; it must be auto, cpu or cuda")
    if c.style not in STYLES:
        raise ConfigError(f"setting style is {c.style!r}; it must be one of {', '.join(STYLES)}")
    for name in ("width", "height"):
        if getattr(c, name) % 2:
            raise ConfigError(f"setting {name} is {getattr(c, name)}; it must be even, as video halves its colours")
    if c.demo_voice and not Path(c.demo_voice).is_file():
        raise ConfigError(f"setting demo_voice is {c.demo_voice!r}, which is not a file")
    if c.gesture_url and not c.gesture_url.startswith(("http://", "https://")):
        raise ConfigError(f"setting gesture_url is {c.gesture_url!r}; give an address such as http://host/gesture")
    if c.kokoro_voices and not Path(c.kokoro_voices).is_file():
        raise ConfigError(f"setting kokoro_voices is {c.kokoro_voices!r}, which is not a file")
    if c.voice_url and not c.voice_url.startswith(("http://", "https://")):
        raise ConfigError(f"setting voice_url is {c.voice_url!r}; give an address such as http://host/v1/audio/speech")
    if c.voice_url and not c.voice_names:
        raise ConfigError("setting voice_names is empty; name the voices that voice_url has")
    if c.udp_ports and not (len(c.udp_ports) == 2 and 1024 <= c.udp_ports[0] <= c.udp_ports[1] <= 65535):
        raise ConfigError(f"setting udp_ports is {c.udp_ports}; give the first and the last port, from 1024 to 65535")
    for server in c.ice_servers:
        if server.partition(":")[0] not in ("stun", "stuns", "turn", "turns"):
            raise ConfigError(
                f"setting ice_servers holds {server!r}; write stun:host:port or turn:user:password@host:port"
            )
