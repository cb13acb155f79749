"""`samovar track`: masks that keep their identity through a video."""

from __future__ import annotations

from typing import Any

import click

from samovar.cli.options import (
    PromptArguments,
    convert_option,
    json_option,
    model_options,
    prompt_options,
    quiet_option,
    source_option,
)

__all__ = ["track"]


def _complete_engine(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from samovar.plugins import list_trackers

    return [
        name for name in ("auto", "memory", *(spec.name for spec in list_trackers())) if name.startswith(incomplete)
    ]


@click.command()
@click.argument("video", metavar="VIDEO|FOLDER|camera:N|-", type=click.Path())
@prompt_options
@source_option("Where the objects come from, such as faces; auto: every object.", metavar="NAME[=ARGUMENT]|auto")
@convert_option
@click.option(
    "--every", type=click.IntRange(1), metavar="N", help="Ask --source or --text every N frames for what enters."
)
@click.option(
    "--at",
    type=click.IntRange(0),
    metavar="FRAME",
    help="The frame, from 0, that is meant by the first frame; objects are followed from there in both directions.",
)
@click.option(
    "--engine",
    default="auto",
    show_default=True,
    metavar="NAME",
    shell_complete=_complete_engine,
    help="memory: the model's own; propagate: any model's masks moved along; detections: --source in every frame; "
    "or what a plugin brings.",
)
@click.option(
    "--out", "-o", type=click.Path(), metavar="VIDEO", help="The video with the masks drawn in, such as overlay.mp4."
)
@click.option(
    "--masks", type=click.Path(), metavar="PATH", help="A .txt (MOTS), a .json (COCO-video) or a folder of PNGs."
)
@click.option("--mot", metavar="FILE.txt", help="The masks' boxes as MOT text.")
@click.option("--checkpoint", metavar="DIR", help="Keep the progress here; the same command then goes on from it.")
@click.option("--rate", type=float, help="Frames a second of a folder of images.  [default: 25]")
@model_options
@json_option
@quiet_option
def track(video: str, prompts: PromptArguments, **given: Any) -> int:
    """Follow objects through a video, a folder of images, a camera or a pipe.

    Prompts are those of the first frame, or of the one that --at names.

    Objects keep their ids while they are hidden. Ctrl-C ends the outputs at the frame at hand, playable and valid.

    \b
    samovar track street.mp4 --box 12,30,410,380 --out overlay.mp4 --masks masks.json
    samovar track frames/ --source faces --every 25 --masks mots.txt --checkpoint progress/
    ffmpeg -i rtsp://… -f matroska - | samovar track - --point 200,180 --json
    """
    from samovar_adapters.video.session import run

    if bool(prompts) + (given["source"] is not None) != 1:
        raise click.UsageError(
            "say what to follow in one way: --point, --box, --mask or --text, or --prompts, or --source"
        )
    if given["every"] and not (given["source"] or prompts.texts):
        raise click.UsageError("--every asks a --source or a --text again; there is none")
    if given["at"] and given["checkpoint"]:
        raise click.UsageError("--at follows in two directions, which keeps no --checkpoint; leave one of them out")
    return run(video, prompts.of_one_image() if prompts else None, **given)
