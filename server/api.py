"""The HTTP API: avatars, build jobs, sessions. docs/http.md describes it for users."""

from __future__ import annotations

import asyncio
import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError
from PIL import Image, UnidentifiedImageError

from drivers.gesture_style import STYLES
from drivers.text import Reader
from server import audio_socket, manner, signalling, typed
from server.config import Config
from server.errors import Problem, not_found
from server.gallery import SUFFIX, Gallery
from server.jobs import Jobs
from server.limits import MAX_JSON, MB, clean_name, number, read_body, read_json, save_part, slug
from server.metrics import CONTENT_TYPE, Metrics
from server.session import Session
from server.sessions import Sessions, Wish
from stage import sound
from stage.performer import Utterance
from stage.sound import SoundError

PHOTO_FORMATS = ("JPEG", "PNG", "WEBP")
MAX_PIXELS = 60_000_000
VIEWS = ("auto", "photo")


@dataclass
class Api:
    """The handlers and what they work on."""

    config: Config
    gallery: Gallery
    jobs: Jobs
    sessions: Sessions
    reader: Reader | None = None  # of typed text
    uploads: Path = Path()  # a temporary folder of ours for photos on their way; set at the start

    def __post_init__(self) -> None:
        self._metrics = Metrics(lambda: [s.state() for s in self.sessions], lambda: self.jobs.waiting)
        self._microphones: dict[str, signalling.WhipMicrophone] = {}

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/healthz", self.health), web.get("/metrics", self.metrics),
            web.get("/voices/demo", self.demo_voice), web.get("/voices", self.voices),
            web.get("/avatars", self.list_avatars), web.post("/avatars", self.build_avatar),
            web.get("/avatars/{id}", self.show_avatar), web.delete("/avatars/{id}", self.remove_avatar),
            web.get("/avatars/{id}/preview.webp", self.preview),
            web.get("/jobs/{id}", self.show_job), web.delete("/jobs/{id}", self.cancel_job),
            web.get("/jobs/{id}/events", self.job_events),
            web.post("/sessions", self.open_session), web.get("/sessions/{id}", self.show_session),
            web.patch("/sessions/{id}", self.change_session),
            web.delete("/sessions/{id}", self.close_session), web.post("/sessions/{id}/speak", self.speak),
            web.get("/sessions/{id}/events", self.session_events),
            web.post("/sessions/{id}/interrupt", self.interrupt), web.get("/sessions/{id}/audio", self.audio),
            web.post("/whep/{id}", self.whep), web.delete("/whep/{id}/{peer}", self.leave),
            web.patch("/whep/{id}/{peer}", self.trickle),
            web.post("/whip/{id}", self.whip), web.delete("/whip/{id}/{peer}", self.silence),
            web.patch("/whip/{id}/{peer}", self.trickle),
        ]  # fmt: skip

    # ---- the server -----------------------------------------------------------------------------------------

    async def health(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "sessions": len(list(self.sessions)), "jobs": self.jobs.waiting})

    async def metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    async def demo_voice(self, request: web.Request) -> web.StreamResponse:
        if not self.config.demo_voice:
            raise Problem(404, "there is no demo voice", "name a sound file as demo_voice in the settings")
        return web.FileResponse(self.config.demo_voice, headers={"Cache-Control": "no-cache"})

    # ---- avatars --------------------------------------------------------------------------------------------

    async def list_avatars(self, request: web.Request) -> web.Response:
        return web.json_response([c.info for c in await asyncio.to_thread(self.gallery.cards)])

    async def show_avatar(self, request: web.Request) -> web.Response:
        card = await asyncio.to_thread(self.gallery.card, request.match_info["id"])
        return web.json_response(card.info)

    async def preview(self, request: web.Request) -> web.Response:
        card = await asyncio.to_thread(self.gallery.card, request.match_info["id"])
        headers = {"Content-Type": "image/webp", "Cache-Control": "no-cache", "ETag": f'"{card.stamp[0]:x}"'}
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return web.Response(status=304, headers=headers)
        return web.Response(body=card.preview, headers=headers)

    async def remove_avatar(self, request: web.Request) -> web.Response:
        avatar_id = request.match_info["id"]
        if self.sessions.uses(avatar_id):
            raise Problem(409, f"the avatar {avatar_id!r} is in use by a session", "close the session first")
        await asyncio.to_thread(self.gallery.remove, avatar_id)
        return web.Response(status=204)

    async def build_avatar(self, request: web.Request) -> web.Response:
        self.jobs.admit()
        photo = self.uploads / secrets.token_hex(16)
        try:
            name = await self._receive_photo(request, photo)
            suffix = await asyncio.to_thread(check_photo, photo)
            photo = photo.rename(photo.with_suffix(suffix))
            self.jobs.admit()  # the queue may have filled up during the upload
        except BaseException:
            photo.unlink(missing_ok=True)
            raise
        avatar_id = slug(name)
        job = self.jobs.add(photo, self.gallery.folder / f"{avatar_id}{SUFFIX}", avatar_id, name)
        return web.json_response({"job": job.json()}, status=202, headers={"Location": f"/jobs/{job.id}"})

    async def _receive_photo(self, request: web.Request, path: Path) -> str:
        """Write the part `photo` to path, and return the cleaned `name`."""
        if not request.content_type.startswith("multipart/"):
            raise Problem(
                415, "send the photo as multipart/form-data", "with a file field `photo` and a text field `name`"
            )
        limit = int(self.config.max_photo_mb * MB)
        if (request.content_length or 0) > limit + MAX_JSON:
            raise Problem(413, f"the photo is larger than {self.config.max_photo_mb:g} MB", "send a smaller one")
        name, size = "", 0
        try:
            reader = await request.multipart()
            while (part := await reader.next()) is not None:
                if not isinstance(part, BodyPartReader):
                    continue
                if part.name == "photo" and not size:
                    size = await save_part(part, path, limit, "the photo")
                    name = name or clean_name(Path(part.filename or "").stem)
                elif part.name == "name":
                    name = clean_name((await part.read_chunk(4096)).decode("utf-8", "replace")) or name
        except (ValueError, AssertionError, RuntimeError, LookupError, EOFError, HttpProcessingError) as e:
            raise Problem(400, f"the multipart body is damaged ({type(e).__name__})") from e
        if not size:
            raise Problem(400, "the form has no photo, or an empty one", "send it as a file field named `photo`")
        return name or "Unnamed"

    # ---- jobs -----------------------------------------------------------------------------------------------

    async def show_job(self, request: web.Request) -> web.Response:
        return web.json_response(self.jobs.get(request.match_info["id"]).json())

    async def cancel_job(self, request: web.Request) -> web.Response:
        job = await self.jobs.cancel(request.match_info["id"])
        return web.json_response(job.json(), status=202 if not job.finished else 200)

    async def job_events(self, request: web.Request) -> web.StreamResponse:
        job = self.jobs.get(request.match_info["id"])
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await response.prepare(request)
        async for state in self.jobs.follow(job):
            event = state["state"] if state["state"] in ("done", "failed", "cancelled") else "progress"
            await response.write(f"event: {event}\ndata: {json.dumps(state)}\n\n".encode())
        await response.write_eof()
        return response

    # ---- sessions -------------------------------------------------------------------------------------------

    async def open_session(self, request: web.Request) -> web.Response:
        wish = read_wish(await read_json(request), self.config)
        self.sessions.admit()
        avatar = await asyncio.to_thread(self.gallery.avatar, wish.avatar)
        session = await self.sessions.open(avatar, wish)
        body = {
            "id": session.id, "token": session.tokens.owner, "viewer_token": session.tokens.viewer,
            "whep": f"/whep/{session.id}", "whip": f"/whip/{session.id}", "audio": f"/sessions/{session.id}/audio",
            "width": session.size[0], "height": session.size[1], "fps": session.fps, "warnings": list(session.warnings),
            "ice_servers": signalling.ice_servers(self.config),
        }  # fmt: skip
        return web.json_response(body, status=201, headers={"Location": f"/sessions/{session.id}"})

    def _owned(self, request: web.Request) -> Session:
        session = self.sessions.get(request.match_info["id"])
        session.tokens.check_owner(request)
        return session

    async def show_session(self, request: web.Request) -> web.Response:
        session = self.sessions.get(request.match_info["id"])
        session.tokens.check_viewer(request)
        return web.json_response(session.state() | {"ice_servers": signalling.ice_servers(self.config)})

    async def change_session(self, request: web.Request) -> web.Response:
        session = self._owned(request)
        manner.change(session.performer.life, await read_json(request), session.clock.now())
        return web.json_response(session.state())

    async def close_session(self, request: web.Request) -> web.Response:
        await self.sessions.close_one(self._owned(request).id)
        return web.Response(status=204)

    async def speak(self, request: web.Request) -> web.Response:
        session = self._owned(request)
        if request.content_type == "application/json":
            utterance = await typed.say(session, request, self.config)
        else:
            utterance = await self._speak_sound(session, request)
        times = {"seconds": round(utterance.seconds, 3), "start": round(utterance.start, 3)}
        return web.json_response({"utterance": utterance.id} | times, status=202)

    async def _speak_sound(self, session: Session, request: web.Request) -> Utterance:
        if not session.performer.can_speak:
            raise Problem(503, "this session cannot speak", "; ".join(session.warnings))
        body = await read_body(request, int(self.config.max_sound_mb * MB), "the sound")
        if not body:
            raise Problem(400, "the body is empty", "send the bytes of a sound file")
        try:
            samples = await asyncio.to_thread(sound.load, body, self.config.max_sound_seconds)
        except SoundError as e:
            raise Problem(413 if "longer than" in str(e) else 415, str(e)) from e
        try:
            return await session.speak(samples)
        except SoundError as e:
            raise Problem(409, str(e)) from e

    async def voices(self, request: web.Request) -> web.Response:
        return web.json_response(await typed.voices(self.reader))

    async def session_events(self, request: web.Request) -> web.StreamResponse:
        session = self.sessions.get(request.match_info["id"])
        session.tokens.check_viewer(request)
        return await typed.events(session, request)

    async def interrupt(self, request: web.Request) -> web.Response:
        session = self._owned(request)
        return web.json_response({"epoch": session.interrupt(), "time": round(session.clock.now(), 3)})

    async def audio(self, request: web.Request) -> web.StreamResponse:
        return await audio_socket.microphone(request, self._owned(request))

    # ---- WHEP and WHIP --------------------------------------------------------------------------------------

    async def whep(self, request: web.Request) -> web.Response:
        session = self.sessions.get(request.match_info["id"])
        session.tokens.check_viewer(request)
        if session.error:
            raise Problem(409, session.error, "open a new session")
        if len(session.viewers) >= self.config.max_viewers:
            error = f"the session has its {self.config.max_viewers} viewers"
            raise Problem(503, error, "try again later, or raise max_viewers", {"Retry-After": "10"})
        body = await self._read_sdp(request)
        viewer, answer = await signalling.answer_viewer(session, body, self.config)
        return self._created(answer, f"/whep/{session.id}/{viewer.id}")

    async def leave(self, request: web.Request) -> web.Response:
        session = self.sessions.get(request.match_info["id"])
        session.tokens.check_viewer(request)
        if request.match_info["peer"] not in session.viewers:
            raise not_found("viewer", request.match_info["peer"])
        await session.remove(request.match_info["peer"])
        return web.Response(status=200)

    async def whip(self, request: web.Request) -> web.Response:
        session = self._owned(request)
        if not session.performer.can_speak:
            raise Problem(503, "this session cannot speak", "; ".join(session.warnings))
        body = await self._read_sdp(request)
        microphone = signalling.WhipMicrophone(session, self.config)
        answer = await microphone.answer(body)
        self._microphones = {k: m for k, m in self._microphones.items() if not m.closed} | {microphone.id: microphone}
        return self._created(answer, f"/whip/{session.id}/{microphone.id}")

    async def silence(self, request: web.Request) -> web.Response:
        self._owned(request)
        microphone = self._microphones.pop(request.match_info["peer"], None)
        if microphone is None:
            raise not_found("microphone", request.match_info["peer"])
        await microphone.close()
        return web.Response(status=200)

    async def trickle(self, request: web.Request) -> web.Response:
        error = "candidates are not taken one by one"
        raise Problem(405, error, "gather all candidates before sending the offer", {"Allow": "DELETE"})

    async def _read_sdp(self, request: web.Request) -> bytes:
        if request.content_type != "application/sdp":
            raise Problem(
                415, f"the body is {request.content_type}, not an SDP offer", "send Content-Type: application/sdp"
            )
        return await read_body(request, signalling.MAX_SDP, "the offer")

    def _created(self, answer: str, location: str) -> web.Response:
        response = web.Response(status=201, text=answer, content_type="application/sdp", headers={"Location": location})
        for server in signalling.ice_servers(self.config):
            extra = (
                f'; username="{server["username"]}"; credential="{server["credential"]}"'
                if "username" in server
                else ""
            )
            response.headers.add("Link", f'<{server["urls"]}>; rel="ice-server"{extra}')
        return response


def read_wish(data: dict[str, Any], config: Config) -> Wish:
    """Check what a client asks of a session. Raises Problem 400."""
    avatar = data.get("avatar")
    if not isinstance(avatar, str) or not avatar:
        raise Problem(400, "`avatar` is missing", "name one of GET /avatars")
    view = data.get("view") or "auto"
    if view not in VIEWS:
        raise Problem(400, f"`view` is {view!r}; it must be one of {', '.join(VIEWS)}")
    sizes = {key: int(number(data, key, getattr(config, key), 64, config.max_side)) for key in ("width", "height")}
    for key, value in sizes.items():
        if value % 2:
            raise Problem(400, f"`{key}` is {value}; it must be even")
    style = manner.one_of(data, "style", config.style, tuple(STYLES))
    fps = number(data, "fps", config.fps, 1, config.max_fps)
    return Wish(avatar, sizes["width"], sizes["height"], fps, view, style)


def check_photo(path: Path) -> str:
    """The suffix that fits a photo's format. Raises Problem 415 or 413; only the header is read."""
    try:
        with Image.open(path) as image:
            if image.format not in PHOTO_FORMATS:
                raise Problem(415, f"the photo is {image.format}; send JPEG, PNG or WebP")
            if image.width * image.height > MAX_PIXELS:
                raise Problem(413, f"the photo has {image.width} x {image.height} pixels", "send at most 60 megapixels")
            suffix = "." + image.format.lower()
            image.verify()
            return suffix
    except Image.DecompressionBombError as e:
        raise Problem(413, "the photo has too many pixels", "send at most 60 megapixels") from e
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as e:
        raise Problem(415, "the file is not a picture that can be read", "send JPEG, PNG or WebP") from e
