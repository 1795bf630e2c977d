"""The built page, served from a listing of its files: a request picks a file, it never names a path."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

from server.errors import Problem

TYPES = {
    ".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".json": "application/json",
    ".svg": "image/svg+xml", ".webp": "image/webp", ".png": "image/png", ".ico": "image/x-icon",
    ".webmanifest": "application/manifest+json", ".wasm": "application/wasm", ".woff2": "font/woff2",
    ".wav": "audio/wav", ".mp3": "audio/mpeg", ".ogg": "audio/ogg", ".txt": "text/plain",
}  # fmt: skip

NOT_BUILT = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Talkshot</title>
<h1>The page is not built yet</h1>
<p>The server runs, but <code>client_web/dist</code> is empty. Run <code>make serve</code>, which builds it, or
<code>npm ci &amp;&amp; npm run build</code> in <code>client_web</code>, and load this page again.</p></html>"""


class Page:
    """The files of one folder. They are listed again when one is asked for that was not there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, Path] = {}

    def _list(self) -> None:
        files = [p for p in self._folder.rglob("*") if p.is_file()] if self._folder.is_dir() else []
        self._files = {"/" + p.relative_to(self._folder).as_posix(): p for p in files}

    async def serve(self, request: web.Request) -> web.StreamResponse:
        path = "/index.html" if request.path == "/" else request.path
        if path not in self._files or not self._files[path].exists():
            self._list()
        file = self._files.get(path)
        if file is None and path == "/index.html":
            return web.Response(status=503, text=NOT_BUILT, content_type="text/html", headers={"Retry-After": "10"})
        if file is None:
            raise Problem(404, f"there is nothing at {request.path[:100]}")
        # Vite names what lies in assets/ by its content; everything else may change under its name.
        cache = "public, max-age=31536000, immutable" if path.startswith("/assets/") else "no-cache"
        headers = {"Cache-Control": cache}
        if kind := TYPES.get(file.suffix):
            headers["Content-Type"] = kind
        return web.FileResponse(file, headers=headers)
