"""The command line of `run_server.py evaluate`."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from stage.evaluate.protocol import CROSS, REENACT, TWIN

Bar = Callable[[str], AbstractContextManager[Callable[[float], None]]]


def add(commands: argparse._SubParsersAction, run: Callable[[argparse.Namespace], int]) -> None:
    """Add `evaluate` and its kinds."""
    evaluate = commands.add_parser("evaluate", help="measure likeness and leaks, by stage/evaluate/protocol.toml")
    kinds = evaluate.add_subparsers(dest="kind", required=True, metavar="{reenact,leaks,arms,photos,twin,cross,speech}")
    reenact = kinds.add_parser("reenact", help="frame 0 builds the avatar, the other frames drive it and are compared")
    reenact.add_argument("video", type=Path)
    reenact.add_argument(
        "--frames", type=int, default=REENACT["frames"], help="frames compared, evenly spaced (default %(default)s)"
    )
    reenact.add_argument(
        "--refine-pose", action="store_true", help="refine poses on the pictures they are judged by; the output says so"
    )
    reenact.add_argument(
        "--lpips-backbone", type=Path, metavar="FILE.pth", help="torchvision's VGG-16 weights: LPIPS, not ST-LPIPS"
    )
    leaks = kinds.add_parser("leaks", help="what shows that should not when an avatar moves; fails past a limit")
    leaks.add_argument("avatar", type=Path)
    arms = kinds.add_parser("arms", help="what tears when an avatar's arms gesture; fails past a limit")
    arms.add_argument("avatar", type=Path)
    photos = kinds.add_parser("photos", help="are they accepted, redrawn well, still the same person while they talk?")
    photos.add_argument("photos", type=Path, nargs="+", metavar="PHOTO")
    twin = kinds.add_parser("twin", help="procedural people with exact truth: one picture builds, other poses compare")
    twin.add_argument(
        "--identities", type=int, default=TWIN["identities"], help="of the eight and on (default %(default)s)"
    )
    twin.add_argument("--quick", action="store_true", help="a few poses of each")
    twin.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: %(default)s)")
    cross = kinds.add_parser("cross", help="somebody else's video drives an avatar")
    cross.add_argument("video", type=Path)
    cross.add_argument("avatar", type=Path)
    cross.add_argument("--photo", type=Path, help="to compare the identity with (default: the avatar's photo state)")
    cross.add_argument("--frames", type=int, default=CROSS["frames"], help="frames judged (default %(default)s)")
    for kind, shows in (
        (reenact, "true, avatar; every frame is drawn for it"),
        (leaks, "photo, avatar, what can be looked through"),
        (arms, "photo, every gesture"),
        (photos, "photo, utterance"),
        (twin, "of the utterances: truth, true, fitted parameters"),
        (cross, "driver, avatar; every frame is drawn for it"),
    ):
        kind.add_argument("--film", type=Path, metavar="FILE.mp4", help=f"side-by-side film: {shows}")
    speech = kinds.add_parser("speech", help="what the driver hears and shows, on recorded speech with known words")
    speech.add_argument("--testdata", type=Path, required=True, help="folder with manifest.csv, speech/ and videos/")
    speech.add_argument("--more", type=Path, help="folder of further clips, .wav and .txt of the same name")
    speech.add_argument("--avatar", type=Path, default=Path("avatars/demo.avatar"), help="whose lips are measured")
    speech.add_argument(
        "--model", default="auto", help="auto, tiny.en, base, mel or a checkpoint (default %(default)s)"
    )
    speech.add_argument(
        "--vertices", type=Path, help="folder of vertex tracks for LVE and FDD (stage/evaluate/vertices.py)"
    )
    speech.add_argument("--face-model", type=Path, help="of the tracks' topology, such as FLAME for VOCASET")
    speech.add_argument("--vertices-fps", type=float, default=60.0, help="of the tracks (default %(default)s)")
    speech.add_argument("--only", help="parts, by commas: hearing, lips, noise, films, languages, beats, drift")
    for kind in (reenact, leaks, arms, photos, twin, cross, speech):
        kind.add_argument("--json", type=Path, metavar="FILE")
        kind.add_argument("--sheet", type=Path, metavar="FILE.jpg", help="contact sheet of what was compared")
        kind.set_defaults(run=run)


def run(args: argparse.Namespace, bar: Bar) -> int:
    """0, or 1 when a limit is broken. Raises ValueError and the like with one clear line."""
    for name in ("video", "avatar", "photo"):
        path = getattr(args, name, None)
        if path is not None and not path.is_file():
            raise ValueError(f"{path}: no such {name} file")
    for path in getattr(args, "photos", ()):
        if not path.is_file():
            raise ValueError(f"{path}: no such photo file")
    for path in (args.json, args.sheet, getattr(args, "film", None)):
        if path and not path.absolute().parent.is_dir():
            raise ValueError(f"{path}: its folder does not exist; make it first")
    with bar("measuring") as progress:
        text, result, broken = KINDS[args.kind](args, progress)
    print(text)
    if args.json:
        temporary = args.json.with_name(args.json.name + ".tmp")
        temporary.write_text(json.dumps(result, indent=1))
        os.replace(temporary, args.json)
    return int(broken)


Outcome = tuple[str, dict[str, Any], bool]  # table, figures, whether a limit is broken


def _reenact(args: argparse.Namespace, progress: Callable[[float], None]) -> Outcome:
    from stage.evaluate import reenact

    options = reenact.Options(args.frames, args.refine_pose, args.lpips_backbone, args.sheet, args.film)
    result = reenact.evaluate(args.video, options, progress)
    return reenact.table(result), result, False


def _leaks(args: argparse.Namespace, progress: Callable[[float], None]) -> Outcome:
    from stage.evaluate import leaks

    figures = leaks.evaluate(args.avatar, args.sheet, args.film, progress)
    broken = not all(f.holds for f in figures)
    return leaks.table(args.avatar.name, figures), leaks.as_json(args.avatar.name, figures), broken


def _arms(args: argparse.Namespace, progress: Callable[[float], None]) -> Outcome:
    from stage.evaluate import arms

    result = arms.evaluate(args.avatar, args.sheet, args.film, progress)
    name = args.avatar.name
    return arms.table(name, result), arms.as_json(name, result), arms.broken(result)


def _photos(args: argparse.Namespace, progress: Callable[[float], None]) -> Outcome:
    from stage.evaluate import photos

    rows = photos.evaluate(args.photos, args.sheet, args.film, progress)
    return photos.table(rows), photos.as_json(rows), not all(r.holds for r in rows)


def _twin(args: argparse.Namespace, progress: Callable[[float], None]) -> Outcome:
    from stage.evaluate.twin import evaluate, table

    if args.jobs < 1:
        raise ValueError(f"--jobs is {args.jobs}; at least one process is needed")
    result = evaluate(args.identities, args.quick, args.sheet, progress, args.film, args.jobs)
    return table(result), result, False


def _cross(args: argparse.Namespace, progress: Callable[[float], None]) -> Outcome:
    from stage.evaluate.cross import evaluate, table

    result = evaluate(args.video, args.avatar, args.photo, args.frames, args.sheet, args.film, progress)
    return table(result), result, False


def _speech(args: argparse.Namespace, progress: Callable[[float], None]) -> Outcome:
    from stage.evaluate import speech

    parts = tuple(args.only.split(",")) if args.only else speech.PARTS
    task = speech.Task(
        args.testdata, args.more, args.avatar, args.model, args.vertices, args.face_model, args.vertices_fps
    )
    result = speech.evaluate(task, parts, args.sheet, progress)
    return speech.table(result), result, False


KINDS = {
    "reenact": _reenact,
    "leaks": _leaks,
    "arms": _arms,
    "photos": _photos,
    "twin": _twin,
    "cross": _cross,
    "speech": _speech,
}
