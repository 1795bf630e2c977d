"""doctor: every check runs, and what is missing is said with its remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from server import diagnose


def test_every_check_answers() -> None:
    found = list(diagnose.findings())
    names = {f.name for f in found}
    assert {"python", "numpy", "libx264", "gpu", "threads", "weights", "page", "avatars", "chromium"} <= names
    assert all(f.text for f in found)


def test_missing_weights_fail_with_their_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TALKSHOT_CACHE", str(tmp_path))
    assert diagnose.command() == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("FAIL")]
    assert any("weights --fetch" in line for line in lines)
