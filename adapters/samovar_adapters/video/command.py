"""`samovar track`: masks that keep their identity through a video."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from samovar.cli.options import BOX, POINT, json_option, model_options, quiet_option

if TYPE_CHECKING:
    from samovar.prompts import Prompts

__all__ = ["track"]


@click.command()
@click.argument("video", metavar="VIDEO|FOLDER|camera:N|-", type=click.Path())
@click.option(
    "--point",
    "-p",
    "points",
    type=POINT,
    multiple=True,
    help="A click on the object in the first frame (,0: on the background). All points mean one object.",
)
@click.option("--box", "-b", "boxes", type=BOX, multiple=True, help="A box in the first frame; each is an object.")
@click.option("--text", "-t", "texts", multiple=True, metavar="WORDS", help="What to find, for models that take text.")
@click.option(
    "--prompts",
    "prompts_file",
    type=click.Path(),
    metavar="FILE",
    help="Prompts for the first frame, .json, .npy or .npz.",
)
@click.option(
    "--source",
    "-s",
    metavar="NAME[=ARGUMENT]|auto",
    help="Where the objects come from, such as faces; auto: every object.",
)
@click.option(
    "--every", type=click.IntRange(1), metavar="N", help="Ask --source or --text every N frames for what enters."
)
@click.option(
    "--at",
    type=click.IntRange(0),
    metavar="FRAME",
    help="The frame, from 0, that is meant by the first frame; objects are followed from there in both directions.",
)
@click.option("--label", help="What to call the objects.")
@click.option(
    "--engine",
    type=click.Choice(["auto", "memory", "propagate", "detections"]),
    default="auto",
    show_default=True,
    help="memory: the model's own; propagate: any model's masks moved along; detections: --source in every frame.",
)
@click.option(
    "--out", "-o", type=click.Path(), metavar="VIDEO", help="The video with the masks drawn in, such as overlay.mp4."
)
@click.option(
    "--masks", type=click.Path(), metavar="PATH", help="A .txt (MOTS), a .json (COCO-video) or a folder of PNGs."
)
@click.option("--mot", metavar="FILE.txt", help="The masks' boxes as MOT text.")
@click.option("--checkpoint", metavar="DIR", help="Keep the progress here; the same command then goes on from it.")
@click.option("--rate", type=float, help="Frames a second of a folder of pictures.  [default: 25]")
@model_options
@json_option
@quiet_option
def track(video: str, **given: Any) -> int:
    """Follow objects through a video, a folder of pictures, a camera or a pipe.

    Objects keep their ids while they are hidden. Ctrl-C ends the outputs at the frame at hand, playable and valid.

    \b
    samovar track street.mp4 --box 12,30,410,380 --out overlay.mp4 --masks masks.json
    samovar track frames/ --source faces --every 25 --masks mots.txt --checkpoint progress/
    ffmpeg -i rtsp://… -f matroska - | samovar track - --point 200,180 --json
    """
    from samovar_adapters.video.session import run

    return run(video, _prompts(given), **given)


def _prompts(given: dict[str, Any]) -> Prompts | None:
    """The first frame's prompts, taken out of `given`; None when a source gives them."""
    from samovar.prompt_files import load_prompts
    from samovar.prompts import Prompt, Prompts

    points, boxes, texts, label = (given.pop(name) for name in ("points", "boxes", "texts", "label"))
    path = given.pop("prompts_file")
    ways = [bool(points or boxes or texts), path is not None, given["source"] is not None]
    if sum(ways) != 1:
        raise click.UsageError("say what to follow in one way: --point, --box or --text, or --prompts, or --source")
    if given["every"] and not (given["source"] or texts):
        raise click.UsageError("--every asks a --source or a --text again; there is none")
    if given["at"] and given["checkpoint"]:
        raise click.UsageError("--at follows in two directions, which keeps no --checkpoint; leave one of them out")
    if given["at"] and given["engine"] == "detections":
        raise click.UsageError("--at is for what is followed from one frame; engine detections asks in every frame")
    if points and len(boxes) > 1:
        raise click.UsageError("--point refines one object, but there are several --box; use a --prompts file")
    if path is not None:
        loaded = load_prompts(path)
        if not isinstance(loaded, Prompts):
            raise click.UsageError(f"{path} has prompts for several images; a video starts from those of one frame")
        return loaded
    if not ways[0]:
        return None
    clicks: dict[str, Any] = {}
    if points:
        clicks = {"points": [point[:2] for point in points], "point_labels": [int(point[2]) for point in points]}
    rows = [Prompt(box=box, label=label, **clicks) for box in boxes]
    if points and not boxes:
        rows.append(Prompt(label=label, **clicks))
    return Prompts.of(rows + [Prompt(text=text, label=label or text) for text in texts])
