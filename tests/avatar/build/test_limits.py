"""Motion limits: whatever the photo shows lies inside them, or the avatar could not be saved."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from avatar.build import prune
from models.motion import JOINTS


@given(yaw=st.floats(-1, 1), jaw=st.floats(-0.03, 0.45))
def test_limits_hold_the_photos_own_pose(yaw: float, jaw: float) -> None:
    limits = prune.limits(yaw, jaw, 0.36)
    assert set(limits) <= {*JOINTS, "translation"}
    assert all(low <= 0 <= high for ranges in limits.values() for low, high in ranges)
