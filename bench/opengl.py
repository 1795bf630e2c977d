"""OpenGL by Mesa's software rasterizer (llvmpipe) as a yardstick: sorted alpha, a quad per Gaussian. Optional.

Wants `pip install moderngl` (5.12 or later) and Mesa's EGL (Debian: libegl1 libgl1-mesa-dri); neither is needed for
anything else. Projection and sorting are those of bench/baseline.py; GL draws the sorted quads back to front.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avatar.asset import Gaussians
from avatar.render.contract import Camera
from bench.baseline import LEAST, MOST, in_space, project
from models.skinning import F32, I32

REMEDY = "pip install moderngl, apt install libegl1 libgl1-mesa-dri"
VERTEX = """#version 330
uniform vec2 size;
in vec2 corner;                                     // 0 or 1 each
in vec4 box; in vec2 at; in vec3 conic; in vec4 colour;  // box: left, right, top, bottom, px; colour's alpha: opacity
flat out vec2 mean; flat out vec3 form; flat out vec4 tint;
void main() {
  vec2 pixel = mix(box.xz, box.yw, corner);
  gl_Position = vec4(2.0 * pixel / size - 1.0, 0.0, 1.0);
  mean = at; form = conic; tint = colour;
}"""
FRAGMENT = f"""#version 330
flat in vec2 mean; flat in vec3 form; flat in vec4 tint;
out vec4 result;
void main() {{
  vec2 d = gl_FragCoord.xy - mean;
  float q = form.x * d.x * d.x + 2.0 * form.y * d.x * d.y + form.z * d.y * d.y;
  float a = min(tint.a * exp(-0.5 * q), {MOST});
  if (a < {LEAST}) discard;
  result = vec4(tint.rgb * a, a);
}}"""


def context() -> Any:
    """An OpenGL context of llvmpipe without a window. Raises RuntimeError, naming what to install."""
    os.environ.setdefault("LIBGL_ALWAYS_SOFTWARE", "1")
    try:
        gl = importlib.import_module("moderngl").create_context(standalone=True, backend="egl", require=330)
    except Exception as e:  # moderngl raises plain Exception where EGL is missing
        raise RuntimeError(f"{REMEDY} ({' '.join(str(e).split())})") from e
    renderer = gl.info["GL_RENDERER"]
    if "llvmpipe" not in renderer:
        gl.release()
        raise RuntimeError(f"OpenGL is {renderer} here, not llvmpipe")
    return gl


class OpenGlSplatter:
    """Gaussians of an avatar, drawn by llvmpipe into half floats. To be used by the thread that made it."""

    def __init__(self, faces: I32, gaussians: Gaussians, camera: Camera) -> None:
        n = gaussians.count
        self._faces, self._g, self._camera, self._gl = faces, gaussians, camera, context()
        self._mean, self._covariance = np.zeros((n, 3), np.float32), np.zeros((n, 6), np.float32)
        self._record = np.zeros((n, 10), np.float32)
        self._tint = np.concatenate([gaussians.colour, gaussians.opacity[:, None]], 1)
        gl, size = self._gl, (camera.width, camera.height)
        program = gl.program(VERTEX, FRAGMENT)
        program["size"] = size
        corners = gl.buffer(np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float32))
        self._instances = gl.buffer(reserve=n * 13 * 4, dynamic=True)
        content = [(corners, "2f", "corner"), (self._instances, "4f 2f 3f 4f/i", "box", "at", "conic", "colour")]
        self._quads = gl.vertex_array(program, content)
        self._target = gl.framebuffer([gl.texture(size, 4, dtype="f2")])

    def draw(self, vertices: F32) -> NDArray[np.float16]:
        """(H, W, 4) colour times alpha and alpha."""
        g, c, gl, f = self._g, self._camera, self._gl, np.float32
        in_space(vertices, self._faces, g.face, g.bary, g.shape, self._mean, self._covariance)
        project(
            self._mean, self._covariance, g.opacity, f(c.focal), f(c.cx), f(c.cy), c.width, c.height, self._record
        )  # fmt: skip
        order = np.argsort(-self._record[:, 5], kind="stable")
        order = order[self._record[order, 5] > 0]
        r = self._record[order]
        self._instances.write(np.concatenate([r[:, 6:10], r[:, :5], self._tint[order]], 1))
        self._target.use()
        self._target.clear()
        gl.enable(gl.BLEND)
        gl.blend_func = gl.ONE, gl.ONE_MINUS_SRC_ALPHA
        self._quads.render(gl.TRIANGLE_STRIP, 4, instances=len(order))
        picture = np.frombuffer(self._target.read(components=4, dtype="f2"), np.float16)
        return picture.reshape(c.height, c.width, 4)
