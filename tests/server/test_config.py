"""Settings: where they come from, who wins, and words for what is wrong."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.config import Config, ConfigError, load
from server.signalling import ice_servers


def test_flags_beat_the_environment_beats_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text('port = 1000\nhost = "::1"\nfps = 20\norigins = ["https://a.example"]\nudp_ports = [41000, 41100]')
    environ = {"TALKSHOT_PORT": "2000", "TALKSHOT_HOST": "127.0.0.2", "TALKSHOT_CACHE": "elsewhere", "HOME": "/"}
    c = load({"port": 3000}, file, environ)
    assert (c.port, c.host, c.fps) == (3000, "127.0.0.2", 20.0)
    assert c.origins == ("https://a.example",) and c.udp_ports == (41000, 41100)


def test_defaults_listen_to_this_machine_alone() -> None:
    c = load({}, None, {})
    assert c.host == "127.0.0.1" and c.port == 8080 and isinstance(c.avatars, Path)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"prot": 1}, "unknown setting 'prot'"), ({"port": "http"}, "port"), ({"port": 70_000}, "between 0 and 65535"),
        ({"width": 511}, "even"), ({"fps": 0}, "fps"), ({"udp_ports": "80"}, "udp_ports"), ({"port": True}, "port"),
        ({"udp_ports": "5000 4000"}, "first"), ({"ice_servers": "http://x"}, "stun:host:port"),
        ({"max_viewers": None}, "max_viewers"), ({"style": "wild"}, "calm, neutral, lively"),
    ],
)  # fmt: skip
def test_wrong_settings_are_named(flags: dict, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load(flags, None, {})


def test_a_file_that_is_no_toml(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text("port: 80")
    with pytest.raises(ConfigError, match="TOML"):
        load({}, file, {})
    with pytest.raises(ConfigError, match="absent"):
        load({}, tmp_path / "absent.toml", {})


@given(
    st.dictionaries(
        st.sampled_from(["TALKSHOT_PORT", "TALKSHOT_FPS", "TALKSHOT_UDP_PORTS", "TALKSHOT_ORIGINS"]), st.text()
    )
)
def test_any_environment_is_read_or_refused(environ: dict[str, str]) -> None:
    try:
        assert isinstance(load({}, None, environ), Config)
    except ConfigError as e:
        assert "\n" not in str(e) or any("\n" in v for v in environ.values())


def test_ice_servers_are_taken_apart() -> None:
    c = load({"ice_servers": "stun:stun.example:3478, turn:me:p@ss@turn.example:3478?transport=udp"}, None, {})
    assert ice_servers(c) == [
        {"urls": "stun:stun.example:3478"},
        {"urls": "turn:turn.example:3478?transport=udp", "username": "me", "credential": "p@ss"},
    ]
