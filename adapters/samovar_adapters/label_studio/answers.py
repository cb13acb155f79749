"""The work behind `/predict`: one answer a task, clicks and whole batches alike."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from samovar import __version__
from samovar.errors import InputError, SamovarError
from samovar.prompts import Prompt, Prompts
from samovar_adapters.label_studio.config import Config, Kind, parse
from samovar_adapters.label_studio.frame import Frame
from samovar_adapters.label_studio.pictures import TaskPictures, reference_of
from samovar_adapters.label_studio.prompts import read_context
from samovar_adapters.label_studio.regions import regions
from samovar_adapters.label_studio.videos import Videos

if TYPE_CHECKING:
    from samovar.image import Image
    from samovar.masks import Masks
    from samovar.protocols import PromptSource
    from samovar_adapters.serve.engine import Engine

__all__ = ["Answers", "Wishes", "config_of"]

_log = logging.getLogger("samovar.label_studio")

AT_ONCE = 4
"""Tasks of one batch that are worked on at once."""


@dataclass(frozen=True)
class Wishes:
    """How to answer.

    Attributes:
        kind: what regions to draw where the configuration leaves a choice.
        tolerance: pixels that a polygon's outline may move to have fewer points.
        whole: whether to predict whole tasks, on which nobody has clicked. By default only in projects without smart
            tools: where there are any, an annotator would find the picture covered before the first click.
        source: what says where objects are in those; None: everything there is.
        labels: names that the source uses → labels of the configuration.
        seconds: that a batch may take, a little less than Label Studio waits.
        frames: that an object in a video is followed through in one go.
    """

    kind: Kind | None = None
    tolerance: float = 1.0
    whole: bool | None = None
    source: PromptSource | None = None
    labels: Mapping[str, str] | None = None
    seconds: float = 85.0
    frames: int = 300


class Answers:
    """Predictions for the tasks of requests."""

    def __init__(self, engine: Engine, pictures: TaskPictures, wishes: Wishes) -> None:
        self._engine, self._pictures, self._wishes = engine, pictures, wishes
        self._videos = Videos(
            engine, pictures.client, most=wishes.frames, seconds=wishes.seconds, tolerance=wishes.tolerance
        )

    @property
    def model_version(self) -> str:
        """What Label Studio shows, and by which it knows which predictions it has already."""
        return f"{self._engine.name} (samovar {__version__})"

    async def click(self, task: Mapping[str, Any], config: Config, drawn: Sequence[Any]) -> dict[str, Any]:
        """The regions that an annotator's marks ask for. Raises SamovarError."""
        video = next((one["to_name"] for one in reversed(drawn) if _is_in(one, config.videos)), None)
        if video is not None:
            return self._prediction(*await self._videos.drawn(task, video, config.videos[video], drawn))
        to_name, item, rotation = _where(drawn, config)
        reference = reference_of(task, config.images[to_name], item)
        image = await self._pictures.get(reference, _number(task))

        takes_text = await self._takes_text()

        def read() -> tuple[Image, Prompts]:
            asked = [
                one.prompt
                for one in read_context(drawn, Frame(image.width, image.height))
                # A text field on the page is no wish for a mask where nothing here understands words.
                if one.to_name == to_name and (takes_text or one.prompt.text is None)
            ]
            return image, Prompts.of(asked)

        return await self._engine.answer(
            read, lambda masks: self._drawn(masks, config, to_name, rotation), count=len(drawn)
        )

    async def batch(self, tasks: Sequence[Mapping[str, Any]], config: Config) -> list[dict[str, Any]]:
        """One prediction a task, in order. A task that fails says why instead of having a result."""
        until = time.monotonic() + self._wishes.seconds
        room = asyncio.Semaphore(AT_ONCE)

        async def one(task: Mapping[str, Any]) -> dict[str, Any]:
            async with room:
                left = until - time.monotonic()
                try:
                    if left <= 0:
                        raise asyncio.TimeoutError
                    return await asyncio.wait_for(self._whole(task, config), left)
                except asyncio.TimeoutError:
                    within = f"{self._wishes.seconds:g} s"
                    return self._failed(task, f"the batch was not done within {within}; retrieve predictions again")
                except SamovarError as error:
                    return self._failed(task, str(error))

        return list(await asyncio.gather(*map(one, tasks)))

    async def embed(self, task: Mapping[str, Any], config: Config) -> None:
        """Encode the task's pictures ahead. Raises SamovarError."""
        for key in config.images.values():
            found = (task.get("data") or {}).get(key)
            for item in range(len(found) if isinstance(found, list) else 1):
                reference = reference_of(task, key, item)
                await self._engine.embed(await self._pictures.get(reference, _number(task)))

    # ------------------------------------------------------------------------------------------------- how

    async def _whole(self, task: Mapping[str, Any], config: Config) -> dict[str, Any]:
        smart = any(control.smart for control in config.controls)
        if not (self._wishes.whole or (self._wishes.whole is None and not smart)):
            raise InputError("only clicks are answered in a project with smart tools; start with --source for more")
        if not config.images:
            return await self._whole_video(task, config)
        to_name = _labelled(config)
        image = await self._pictures.get(reference_of(task, config.images[to_name]), _number(task))
        source = self._wishes.source
        if source is None:
            masks = await self._engine.segment_all(image)
        else:
            found = await self._engine.run(lambda: source.prompts([image])[0])
            offered = [label for one in config.controls if one.to_name == to_name for label in one.labels]
            wanted = self._named(found, offered)
            masks = await self._engine.segment(image, wanted) if len(wanted) else _none(image)
        return await self._engine.look(lambda: self._drawn(masks, config, to_name, 0))

    async def _whole_video(self, task: Mapping[str, Any], config: Config) -> dict[str, Any]:
        source = self._wishes.source
        if source is None:
            raise InputError("in videos only what is drawn is followed; start with --source NAME to have objects found")
        name, video = next(iter(config.videos.items()))

        def named(found: Prompts) -> Prompts:
            return self._named(found, video.labels)

        return self._prediction(*await self._videos.found(task, name, video, source, named))

    async def _takes_text(self) -> bool:
        runtime = await self._engine.runtime()
        return "text" in runtime.segmenter.prompt_kinds or bool(runtime.lowering)

    def _named(self, found: Prompts, offered: Sequence[str]) -> Prompts:
        """The prompts that a label which the configuration offers belongs to, with that label."""
        known = {label.lower(): label for label in offered}
        mapping = self._wishes.labels or {}
        kept: list[Prompt] = []
        for prompt in found:
            name = mapping.get(prompt.label or "", prompt.label or "")
            label = known.get(name.lower())
            if label is not None:
                kept.append(_relabelled(prompt, label))
            elif len(known) == 1 and prompt.label is None:
                kept.append(_relabelled(prompt, next(iter(known.values()))))
        return Prompts.of(kept)

    def _drawn(self, masks: Masks, config: Config, to_name: str, rotation: int) -> dict[str, Any]:
        result = []
        for mask in masks:
            control = config.control(to_name, mask.labels[0], self._wishes.kind)
            if mask.labels[0] not in control.labels:
                # What the editor has no label for it does not show; where there is but one, that is meant.
                only = control.labels[0] if len(control.labels) == 1 else None
                mask = mask.replace(labels=[only])
            result += regions(mask, control, tolerance=self._wishes.tolerance, rotation=rotation)
        score = float(masks.scores.mean()) if len(masks) else 0.0
        return self._prediction(result, score)

    def _prediction(self, result: list[dict[str, Any]], score: float) -> dict[str, Any]:
        return {"model_version": self.model_version, "score": round(score, 4), "result": result}

    def _failed(self, task: Mapping[str, Any], message: str) -> dict[str, Any]:
        _log.warning("task not predicted", extra={"fields": {"task": task.get("id"), "error": message}})
        # Without a "result" Label Studio stores nothing and writes this down; an empty one would count as a prediction.
        return {"model_version": self.model_version, "task": task.get("id"), "error": message}


def config_of(body: Mapping[str, Any]) -> Config:
    """The labelling configuration that came with a request. Raises InputError."""
    text = body.get("label_config") or body.get("schema")
    if not isinstance(text, str):
        raise InputError(f"label_config must be XML; got {type(text).__name__}")
    return parse(text)


def _where(drawn: Sequence[Any], config: Config) -> tuple[str, int, int]:
    """The image that was drawn on last, which of several it shows, and how far it is turned."""
    for region in reversed(drawn):
        if _is_in(region, config.images):
            item, rotation = region.get("item_index", 0), region.get("image_rotation", 0)
            return region["to_name"], item if isinstance(item, int) else 0, rotation if isinstance(rotation, int) else 0
    raise InputError(f"expected regions of {', '.join([*config.images, *config.videos])}; got none of them")


def _is_in(region: Any, shown: Mapping[str, Any]) -> bool:
    return isinstance(region, dict) and isinstance(region.get("to_name"), str) and region["to_name"] in shown


def _labelled(config: Config) -> str:
    """The first image that some tag labels. Raises InputError."""
    for control in config.controls:
        return control.to_name
    return config.control(next(iter(config.images)), None).to_name  # raises, and says what to add


def _number(task: Mapping[str, Any]) -> int | None:
    number = task.get("id")
    return number if isinstance(number, int) else None


def _none(image: Image) -> Masks:
    from samovar.masks import Masks

    return Masks.empty(image.width, image.height)


def _relabelled(prompt: Prompt, label: str) -> Prompt:
    from dataclasses import replace

    return replace(prompt, label=label)
