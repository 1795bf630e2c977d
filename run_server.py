#!/usr/bin/env python3
"""Talkshot's command line. Each command imports what it needs, so that --help and errors come at once."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drivers.mood import Mood

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before numba loads: idle kernels must not spin beside other work
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy loads: a second thread on small matrices only spins
os.environ.setdefault("GLOG_minloglevel", "3")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

COMMANDS = ("serve", "build", "render", "demo", "evaluate", "bench", "doctor", "weights")


class CommandError(Exception):
    """One clear line for the user."""


def size(text: str) -> tuple[int, int]:
    """WxH in even pixels, as video codecs want them."""
    match = re.fullmatch(r"(\d{2,4})x(\d{2,4})", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size; write it as 512x512")
    width, height = int(match[1]), int(match[2])
    if width % 2 or height % 2 or not (64 <= width <= 4096 and 64 <= height <= 4096):
        raise argparse.ArgumentTypeError(f"{text!r}: width and height must be even and between 64 and 4096")
    return width, height


def background(text: str) -> str:
    if text in ("photo", "alpha") or re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        return text
    raise argparse.ArgumentTypeError(f"{text!r} is no background; use photo, alpha or a colour such as #20242c")


def frame_rate(text: str) -> float:
    try:
        fps = float(text)
    except ValueError:
        fps = 0.0
    if not 1 <= fps <= 120:
        raise argparse.ArgumentTypeError(f"{text!r} is no frame rate; use a number from 1 to 120")
    return fps


def mood(text: str) -> Mood:
    from drivers.mood import Mood

    name, _, strength = text.partition(":")
    try:
        return Mood(name, float(strength or 1))
    except ValueError as e:
        raise argparse.ArgumentTypeError(str(e)) from e


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="run_server.py", description="One photo in, a live talking person out.")
    commands = top.add_subparsers(dest="command", metavar="{" + ",".join(COMMANDS) + "}")
    _add_serve(commands)
    _add_build(commands)
    _add_render(commands)
    _add_evaluate(commands)
    demo = commands.add_parser("demo", help="build the demo avatar from scikit-image's public-domain portrait")
    demo.add_argument("-o", "--output", type=Path, default=Path("avatars/demo.avatar"))
    demo.set_defaults(run=run_demo)
    bench = commands.add_parser("bench", help="time every stage of a frame, with ratios against plain baselines")
    bench.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    bench.add_argument(
        "--avatar", type=Path, nargs="+", default=[Path("avatars/demo.avatar")], metavar="FILE",
        help="default the demo; several: a head, a half and a full one, made-up people for those that are not named",
    )  # fmt: skip
    bench.add_argument(
        "--build", type=Path, metavar="PHOTO", help="instead: seconds and memory of a build's stages, median of three"
    )
    bench.add_argument("--browser", type=float, metavar="SECONDS", help="instead: the whole chain with a real browser")
    bench.add_argument("--voice", type=Path, metavar="FILE", help="what is said during --browser")
    bench.add_argument("--size", type=size, metavar="WxH", help="of the stream during --browser (default 512x512)")
    bench.add_argument("--fps", type=frame_rate, help="of the stream during --browser (default 30)")
    bench.add_argument("--device", choices=("auto", "cpu", "cuda"), help="cuda: bench/gpu_check.py instead")
    bench.set_defaults(run=run_bench)
    doctor = commands.add_parser("doctor", help="check this machine: packages, weights, kernels, codecs, page")
    doctor.add_argument("--warm", action="store_true", help="also compile and cache every kernel")
    doctor.set_defaults(run=run_doctor)
    weights = commands.add_parser("weights", help="list, fetch and verify the weights the manifest names")
    weights.add_argument("ids", nargs="*", help="only these (default: all)")
    weights.add_argument("--fetch", action="store_true", help="fetch what is missing")
    weights.add_argument("--verify", action="store_true", help="hash every cached file again")
    weights.set_defaults(run=run_weights)
    return top


def _add_serve(commands: argparse._SubParsersAction) -> None:
    serve = commands.add_parser("serve", help="serve the page, the API and the streams (the default command)")
    serve.add_argument("--host", help="address to listen on (default 127.0.0.1: this machine only)")
    serve.add_argument("--port", type=int, help="TCP port (default 8080)")
    serve.add_argument("--avatars", type=Path, metavar="DIR", help="folder of .avatar files (default avatars/)")
    serve.add_argument("--size", type=size, metavar="WxH", help="default stream size (default 512x512)")
    serve.add_argument("--fps", type=frame_rate, help="default frame rate (default 30)")
    serve.add_argument("--threads", type=int, help="render threads (default 2)")
    _add_device(serve)
    serve.set_defaults(run=run_serve)


def _add_build(commands: argparse._SubParsersAction) -> None:
    build = commands.add_parser("build", help="photo -> .avatar")
    build.add_argument("photo", type=Path)
    build.add_argument("-o", "--output", type=Path, required=True, metavar="NAME.avatar")
    build.add_argument(
        "--report",
        type=Path,
        metavar="FILE.json",
        help="write seconds, stages, framing, quality, warnings; beside it FILE.jpg, FILE.matte.png and "
        "FILE.landmarks.json, what was seen in the photo",
    )
    build.add_argument("--matte", type=Path, metavar="FILE", help="a picture of the photo's shape, the person white")
    build.add_argument("--landmarks", type=Path, metavar="FILE.json", help="face landmarks set right by hand")
    build.set_defaults(run=run_build)


def _add_render(commands: argparse._SubParsersAction) -> None:
    from drivers.gesture_style import STYLES

    render = commands.add_parser("render", help=".avatar + sound, video, motion or text -> film")
    render.add_argument("avatar", type=Path)
    what = render.add_mutually_exclusive_group(required=True)
    what.add_argument("--drive", type=Path, metavar="FILE", help="sound, video, motion npz or Live Link Face csv")
    what.add_argument("--say", metavar="TEXT", help="say a text; tags such as [happy] and [pause 1] (docs/http.md)")
    what.add_argument("--gesture", choices=("beat",), help="show how the arms move: both hands beat time for 6 s")
    render.add_argument("--voice", metavar="NAME", help="of --say: id, name or language (default: one that fits)")
    render.add_argument("--rate", type=float, metavar="X", help="of --say: 0.5 to 2.5 (default 1)")
    render.add_argument("--mood", type=mood, metavar="NAME[:X]", help="such as happy:0.5 (default neutral)")
    render.add_argument("--style", choices=tuple(STYLES), default="neutral", help="of nods and hands (default neutral)")
    render.add_argument("--gesture-strength", type=float, default=1.0, metavar="X", help="nods, brows, hands: 0 to 1.5")
    render.add_argument("--liveliness", type=float, default=1.0, metavar="X", help="blinks, gaze, sway: 0 to 1.5")
    render.add_argument("--hands", type=Path, metavar="FILE.npz", help="arms and hands in the gestures' place (SMPL-X)")
    render.add_argument("-o", "--output", type=Path, required=True, metavar="OUT.mp4")
    render.add_argument(
        "--size", type=size, metavar="WxH", help="default: 512 pixels on the short side, the view's shape"
    )
    render.add_argument("--fps", type=frame_rate, help="default: the driving video's rate, otherwise 30")
    render.add_argument(
        "--background", type=background, default="photo", help="photo, #rrggbb or alpha (RGBA in PNG or VP9)"
    )
    render.add_argument(
        "--reenact", action="store_true", help="same person and camera as the photo: frame k overlays frame k"
    )
    render.add_argument("--seed", type=int, default=0, help="of blinks, gaze and breathing")
    _add_device(render)
    render.set_defaults(run=run_render)


def _add_device(command: argparse.ArgumentParser) -> None:
    command.add_argument("--device", choices=("auto", "cpu", "cuda"), help="that draws (default auto: a GPU if usable)")


def _add_evaluate(commands: argparse._SubParsersAction) -> None:
    from stage.evaluate import command

    command.add(commands, run_evaluate)


# ---- commands ------------------------------------------------------------------------------------------


def run_serve(args: argparse.Namespace) -> int:
    from server import app, config
    from stage import picture

    flags = {k: getattr(args, k, None) for k in ("host", "port", "avatars", "fps", "threads", "device")}
    if getattr(args, "size", None):
        flags["width"], flags["height"] = args.size
    settings = config.load({k: v for k, v in flags.items() if v is not None})
    picture.gpu(settings.device)  # loaded, or refused, before anybody waits for a session
    app.run(settings)
    return 0


def run_build(args: argparse.Namespace) -> int:
    _need_file(args.photo, "photo")
    _need_suffix(args.output, (".avatar",))
    for path, what in ((args.matte, "matte"), (args.landmarks, "landmarks")):
        if path is not None:
            _need_file(path, what)
    return _build(args.photo, args.output, args.report, args.matte, args.landmarks)


def run_demo(args: argparse.Namespace) -> int:
    from avatar.build.photo import demo

    _need_suffix(args.output, (".avatar",))
    args.output.parent.mkdir(parents=True, exist_ok=True)
    return _build(demo(), args.output, None)


def _build(
    photo: Path, output: Path, report: Path | None, matte: Path | None = None, landmarks: Path | None = None
) -> int:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from avatar.build.worker import BuildJob

    for path in (output, report):
        if path and not path.absolute().parent.is_dir():
            raise CommandError(f"{path}: its folder does not exist; make it first")
    columns = (
        TextColumn("{task.description:32}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeElapsedColumn(),
    )
    job = BuildJob(photo, output, report, matte=matte, landmarks=landmarks)
    try:
        with Progress(*columns, disable=not sys.stdout.isatty()) as bar:
            task = bar.add_task("starting", total=1.0)
            for event in job.events():
                if event["event"] == "progress":
                    bar.update(task, completed=event["fraction"], description=event["message"])
            bar.update(task, completed=1.0)
    finally:
        job.cancel()
    if event["event"] != "done":
        raise CommandError(event.get("error", "the build was cancelled"))
    summary = event["report"]
    for warning in summary.get("warnings", ()):
        print(f"warning: {warning}", file=sys.stderr)
    keys = ("framing", "gaussians", "rest_psnr", "rest_ssim", "seconds", "peak_memory_mb")
    print(f"{output}: " + ", ".join(f"{k} {_short(summary[k])}" for k in keys if k in summary))
    return 0


def run_render(args: argparse.Namespace) -> int:
    from stage import offline

    _need_file(args.avatar, "avatar")
    drive: Path | offline.Script | offline.Demonstration
    if args.say is not None:
        drive = offline.Script(args.say, args.voice or "", 1.0 if args.rate is None else args.rate)
    elif args.voice or args.rate:
        raise CommandError("--voice and --rate go with --say")
    elif args.gesture is not None:
        drive = offline.Demonstration(args.gesture)
    else:
        _need_file(args.drive, "drive")
        drive = args.drive
    device = args.device or "auto"
    life = {"style": args.style, "gestures": args.gesture_strength, "liveliness": args.liveliness, "hands": args.hands}
    life |= {"mood": args.mood} if args.mood else {}
    options = offline.Options(args.size, args.fps, args.background, args.reenact, args.seed, device, **life)
    with _bar("rendering") as progress:
        result = offline.render(args.avatar, drive, args.output, options, progress)
    shape = f"{result.width}x{result.height}"
    print(f"{args.output}: {result.frames} frames at {result.fps:g} fps, {shape}, {result.seconds:.1f} s to render")
    return 0


def run_evaluate(args: argparse.Namespace) -> int:
    from stage.evaluate import command

    return command.run(args, _bar)


def run_bench(args: argparse.Namespace) -> int:
    import bench

    if args.build is not None:
        return _bench_build(args.build, args.json)
    for path in args.avatar:
        if not path.exists():
            raise CommandError(f"{path}: no such avatar; build the demo with `make demo`, or name one with --avatar")
    if args.device == "cuda":
        from bench import gpu_check

        return gpu_check.main(args.avatar[0], args.json)
    if args.browser is None:
        if args.voice or args.size or args.fps:
            raise CommandError("--voice, --size and --fps go with --browser")
        bench.run(args.json, args.avatar)
        return 0
    from bench import browser

    figures = browser.run(args.avatar[0], args.browser, args.voice, args.size or (512, 512), args.fps or 30.0)
    for name, value in figures.items():
        print(f"{name:20} {value:8.2f}")
    if args.json:
        _write_text(args.json, json.dumps({"browser": figures}, indent=1))
    return 0


def _bench_build(photo: Path, json_path: Path | None) -> int:
    from bench import building, frame

    _need_file(photo, "photo")
    result = building.run(photo)
    print(building.table(result))
    if json_path:
        frame.write(json_path, result)
    return 0


def run_doctor(args: argparse.Namespace) -> int:
    from server import diagnose

    return diagnose.command(warm=args.warm)


def run_weights(args: argparse.Namespace) -> int:
    from models import weights

    return weights.command(fetch=args.fetch, verify=args.verify, ids=args.ids)


# ---- small things ------------------------------------------------------------------------------------------


class _bar:
    """A progress bar as a callback: progress(fraction)."""

    def __init__(self, description: str) -> None:
        from rich.progress import Progress

        self._progress = Progress(transient=True, disable=not sys.stdout.isatty())
        self._description = description

    def __enter__(self) -> Callable[[float], None]:
        self._progress.start()
        task = self._progress.add_task(self._description, total=1.0)
        return lambda fraction: self._progress.update(task, completed=fraction)

    def __exit__(self, *exc: object) -> None:
        self._progress.stop()


def _short(value: object) -> object:
    return f"{value:.2f}" if isinstance(value, float) else value


def _need_file(path: Path, what: str) -> None:
    if not path.exists():
        raise CommandError(f"{path}: no such {what} file")
    if not path.is_file():
        raise CommandError(f"{path}: not a file")


def _need_suffix(path: Path, suffixes: tuple[str, ...]) -> None:
    if path.suffix not in suffixes:
        raise CommandError(f"{path}: the output must end in {' or '.join(suffixes)}")


def _write_text(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text)
    os.replace(temporary, path)


def main(argv: list[str] | None = None) -> int:
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or (argv[0] not in COMMANDS and argv[0] not in ("-h", "--help")):
        argv.insert(0, "serve")
    args = parser().parse_args(argv)
    try:
        return args.run(args)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except (CommandError, ValueError, OSError, RuntimeError) as error:
        if os.environ.get("TALKSHOT_TRACEBACK"):
            raise
        print(f"error: {' '.join(str(error).split()) or type(error).__name__}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
