"""How deep an avatar's hands go into its head: what cross-identity motion does to a body of other proportions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.motion import GROUP, JOINT, JOINT_GROUP

if TYPE_CHECKING:
    from avatar.asset import Avatar

OF_HAND = 0.5  # skinning weight of wrist and fingers from which a vertex is a hand's
OF_HEAD = 0.5  # of head and jaw
SKIN = 0  # of Avatar.part
SIDE = 256  # px of the depth maps


class Penetration:
    """Looks along the camera's axis: a hand point is inside where the head's skin is both before and behind it."""

    def __init__(self, avatar: Avatar) -> None:
        m = avatar.mesh
        hands = [*np.flatnonzero(GROUP["hands"] == JOINT_GROUP), JOINT["left_wrist"], JOINT["right_wrist"]]
        weight = lambda joints: (m.joint_weight * np.isin(m.joint_index, joints)).sum(1)  # noqa: E731
        used = np.zeros(len(m.vertices), bool)
        used[m.faces] = True
        self.hand = np.flatnonzero((weight(hands) > OF_HAND) & used)
        head = weight([JOINT["head"], JOINT["jaw"]]) > OF_HEAD
        self.head = np.ascontiguousarray(m.faces[(avatar.part == SKIN) & head[m.faces].all(1)])

    def __call__(self, vertices: NDArray) -> float | None:
        """Posed vertices (V, 3) m -> m, the deepest hand vertex; 0 outside, None for an avatar without moving hands."""
        from avatar.render import cpu

        if not len(self.hand) or not len(self.head):
            return None
        v = np.asarray(vertices, np.float64)
        corners = v[np.unique(self.head)]
        low, size = corners[:, :2].min(0), np.ptp(corners[:, :2], axis=0).max()
        flat = np.concatenate([(v[:, :2] - low) / size * (SIDE - 1), np.zeros((len(v), 1))], 1)
        near, far = corners[:, 2].max(), corners[:, 2].min()
        depths = []
        for z in (near - v[:, 2], v[:, 2] - far):  # from the front, from behind
            flat[:, 2] = z + 1.0
            depths.append(cpu.zbuffer(flat, self.head, SIDE, SIDE)[0] - 1.0)
        h = self.hand
        at = np.floor(flat[h, :2]).astype(int)
        within = ((at >= 0) & (at < SIDE)).all(1)
        h, at = h[within], at[within]
        front = near - v[h, 2] - depths[0][at[:, 1], at[:, 0]]
        back = v[h, 2] - far - depths[1][at[:, 1], at[:, 0]]
        deep = np.minimum(front, back)
        deep = deep[np.isfinite(deep)]
        return float(max(deep.max(), 0.0)) if len(deep) else 0.0
