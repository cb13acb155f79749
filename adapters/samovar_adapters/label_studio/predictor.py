"""The work behind `/predict`: one prediction a task, for clicks and whole batches alike, from images fetched once."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from samovar import __version__
from samovar.errors import InputError, SamovarError
from samovar.image import Image
from samovar.masks import Masks
from samovar.prompts import Prompts
from samovar_adapters.label_studio.client import Client
from samovar_adapters.label_studio.config import Config, Kind, parse
from samovar_adapters.label_studio.prompts import labels_of, read_context
from samovar_adapters.label_studio.regions import ImageSize, regions
from samovar_adapters.label_studio.videos import Videos
from samovar_adapters.serve import ImageStore

if TYPE_CHECKING:
    from samovar.protocols import PromptSource
    from samovar_adapters.serve import Engine

__all__ = ["BackendOptions", "Predictor", "PrefetchQueue", "TaskImages", "config_of"]

_log = logging.getLogger("samovar.label_studio")

AT_ONCE = 4
"""Tasks of one batch that are worked on at once."""
KEPT_BYTES = 256 << 20
KEPT_SECONDS = 600.0
FETCHERS = 16
NEXT = 3
"""Tasks that are encoded while the one before them is worked on."""
MOST_WAITING = 10_000
"""Tasks that may wait to be encoded; of more at once, the rest is left to `samovar label-studio warm`."""


@dataclass(frozen=True)
class BackendOptions:
    """How to answer.

    Attributes:
        kind: what regions to draw where the configuration leaves a choice.
        tolerance: pixels that a polygon's outline may move to have fewer points.
        whole: whether to predict whole tasks, on which nobody has clicked. By default only in projects without smart
            tools: where there are any, an annotator would find the image covered before the first click.
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


class TaskImages:
    """Fetches with a client, each address once at a time, and keeps the encoded files.

    An address stands for its image for ten minutes; after that it is fetched again. What it turns out to show decides
    which embedding is used, never the address. Images that are in the address itself are kept by its hash: it takes a
    fraction of the time of decoding and hashing them again on every click.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self._kept = ImageStore(KEPT_BYTES, KEPT_SECONDS)
        self._fetchers = ThreadPoolExecutor(FETCHERS, thread_name_prefix="samovar-fetch")
        self._fetching: dict[str, asyncio.Task[bytes]] = {}

    async def get(self, reference: str, task: int | None = None) -> Image:
        """The image. Raises ImageError."""
        embedded = reference[:5].lower() == "data:"
        key = blake3(reference.encode(errors="replace")).hexdigest() if embedded else reference
        image = self._kept.get(key)
        if image is not None:
            return image
        fetching = self._fetching.get(key)
        if fetching is None:
            fetching = self._fetching[key] = asyncio.create_task(self._fetch(reference, task))
            fetching.add_done_callback(lambda done: self._forget(key, done))
        data = await asyncio.shield(fetching)
        name = "data-URL" if embedded else reference.partition("?")[0].rstrip("/").rpartition("/")[2] or "image"
        image = Image(data, name=name)
        self._kept.put(key, image, len(data))
        return image

    async def _fetch(self, reference: str, task: int | None) -> bytes:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._fetchers, lambda: self.client.image(reference, task))

    def _forget(self, key: str, done: asyncio.Task[bytes]) -> None:
        self._fetching.pop(key, None)
        if not done.cancelled():
            done.exception()  # whoever waits has it; with nobody waiting it is nobody's


class Predictor:
    """Predictions for the tasks of requests."""

    def __init__(self, engine: Engine, images: TaskImages, options: BackendOptions) -> None:
        self._engine, self._images, self._options = engine, images, options
        self._videos = Videos(
            engine, images.client, most=options.frames, seconds=options.seconds, tolerance=options.tolerance
        )

    @property
    def model_version(self) -> str:
        """What Label Studio shows, and by which it knows which predictions it has already."""
        return f"{self._engine.name} (samovar {__version__})"

    async def click(self, task: Mapping[str, Any], config: Config, drawn: Sequence[Any]) -> dict[str, Any]:
        """The regions that an annotator's marks ask for. Raises SamovarError."""
        config = config.of_task(task)
        video = next((one["to_name"] for one in reversed(drawn) if _is_in(one, config.videos)), None)
        if video is not None:
            return self._prediction(*await self._videos.drawn(task, video, config.videos[video], drawn))
        to_name, item, rotation = _where(drawn, config)
        tag = config.images[to_name]
        image = await self._images.get(tag.reference(task, item), _number(task))
        takes_text = await self._takes_text()

        def read() -> tuple[Image, Prompts]:
            asked = read_context(drawn, ImageSize(image.width, image.height), to_name, item)
            # A text field on the page is no wish for a mask where nothing here understands words.
            return image, Prompts.of([one for one in asked if takes_text or one.text is None])

        def draw(masks: Masks) -> dict[str, Any]:
            found = self._regions(masks, config, to_name, item if tag.pages else None, rotation, drawn)
            return self._prediction(found, float(masks.scores.mean()) if len(masks) else 0.0)

        return await self._engine.answer(read, draw, count=len(drawn))

    async def batch(self, tasks: Sequence[Mapping[str, Any]], config: Config) -> list[dict[str, Any]]:
        """One prediction a task, in order. A task that fails says why instead of having a result."""
        until = time.monotonic() + self._options.seconds
        room = asyncio.Semaphore(AT_ONCE)

        async def one(task: Mapping[str, Any]) -> dict[str, Any]:
            async with room:
                left = until - time.monotonic()
                try:
                    if left <= 0:
                        raise asyncio.TimeoutError
                    return await asyncio.wait_for(self._whole(task, config.of_task(task)), left)
                except asyncio.TimeoutError:
                    within = f"{self._options.seconds:g} s"
                    return self._failed(task, f"the batch was not done within {within}; retrieve predictions again")
                except SamovarError as error:
                    return self._failed(task, str(error))
                except Exception as error:  # noqa: BLE001  (one task must not take the others' predictions with it)
                    return self._failed(task, "an error inside the server; its log says more", error)

        return list(await asyncio.gather(*map(one, tasks)))

    async def embed(self, task: Mapping[str, Any], config: Config) -> None:
        """Encode the task's images ahead. Raises SamovarError."""
        for tag in config.of_task(task).images.values():
            for reference in tag.references(task):
                await self._engine.embed(await self._images.get(reference, _number(task)))

    # ------------------------------------------------------------------------------------------------- how

    async def _whole(self, task: Mapping[str, Any], config: Config) -> dict[str, Any]:
        if not (not config.smart if self._options.whole is None else self._options.whole):
            raise InputError("only clicks are answered in a project with smart tools; start with --source for more")
        if not config.images:
            return await self._whole_video(task, config)
        found: list[dict[str, Any]] = []
        scores: list[float] = []
        for to_name in _labelled(config):
            tag = config.images[to_name]
            for item, reference in enumerate(tag.references(task)):
                masks = await self._found(await self._images.get(reference, _number(task)), config, to_name)
                scores += masks.scores.tolist()
                on = item if tag.pages else None
                found += await self._engine.run_io(lambda: self._regions(masks, config, to_name, on))  # noqa: B023
        return self._prediction(found, sum(scores) / max(len(scores), 1))

    async def _found(self, image: Image, config: Config, to_name: str) -> Masks:
        """The masks of everything on one image, or of what the source finds there under the labels of its tags."""
        source = self._options.source
        if source is None:
            return await self._engine.segment_all(image)
        found = await self._engine.run_encoder(lambda: source.prompts([image])[0])
        offered = [label for one in config.controls if one.to_name == to_name for label in one.labels]
        wanted = self._named(found, offered)
        return await self._engine.segment(image, wanted) if len(wanted) else Masks.empty(image.width, image.height)

    async def _whole_video(self, task: Mapping[str, Any], config: Config) -> dict[str, Any]:
        source = self._options.source
        if source is None:
            raise InputError("in videos only what is drawn is followed; start with --source NAME to have objects found")
        name, video = next(iter(config.videos.items()))

        def named(found: Prompts) -> Prompts:
            return self._named(found, video.labels)

        return self._prediction(*await self._videos.found(task, name, video, source, named))

    async def _takes_text(self) -> bool:
        runtime = await self._engine.runtime()
        return "text" in runtime.prompt_kinds or bool(runtime.converters)

    def _named(self, found: Prompts, offered: Sequence[str]) -> Prompts:
        """The prompts that a label which the configuration offers belongs to, with that label."""
        known = {label.lower(): label for label in offered}
        mapping = self._options.labels or {}
        kept = []
        for prompt in found:
            name = mapping.get(prompt.label or "", prompt.label or "")
            label = known.get(name.lower())
            if label is None and len(known) == 1 and prompt.label is None:
                label = next(iter(known.values()))
            if label is not None:
                kept.append(replace(prompt, label=label))
        return Prompts.of(kept)

    def _regions(
        self,
        masks: Masks,
        config: Config,
        to_name: str,
        item: int | None,
        rotation: int = 0,
        drawn: Sequence[Mapping[str, Any]] = (),
    ) -> list[dict[str, Any]]:
        """What shows the masks in the editor; `drawn` is what they answer."""
        together = {labels[0]: labels for labels in map(labels_of, drawn) if labels}  # by the first, which masks have
        clicked = {str(one.get("from_name")) for one in drawn if str(one.get("type")).startswith("keypoint")}
        found = []
        for mask in masks:
            label = mask.labels[0]
            control = config.control(to_name, label, self._options.kind, clicked)
            labels = [one for one in together.get(label or "", [label]) if one in control.labels]
            if not labels and len(control.labels) == 1:
                # What the editor has no label for it does not show; where there is but one, that is meant.
                labels = [control.labels[0]]
            found += regions(
                mask,
                control,
                labels=[one for one in labels if one is not None],
                tolerance=self._options.tolerance,
                rotation=rotation,
                item=item,
            )
        return found

    def _prediction(self, result: list[dict[str, Any]], score: float) -> dict[str, Any]:
        return {"model_version": self.model_version, "score": round(score, 4), "result": result}

    def _failed(self, task: Mapping[str, Any], message: str, error: Exception | None = None) -> dict[str, Any]:
        fields = {"task": task.get("id"), "error": message}
        _log.log(
            logging.ERROR if error else logging.WARNING, "task not predicted", extra={"fields": fields}, exc_info=error
        )
        # Without a "result" Label Studio stores nothing and writes this down; an empty one would count as a prediction.
        return {"model_version": self.model_version, "task": task.get("id"), "error": message}


class PrefetchQueue:
    """Encodes images before anybody clicks on them: those of new tasks, and of the tasks that come next.

    Works through tasks one at a time, so that a click always finds an encoder free. Lives on one event loop.
    """

    def __init__(self, predictor: Predictor, client: Client, *, prefetch: bool = True) -> None:
        self._predictor, self._client, self._prefetch = predictor, client, prefetch
        self._waiting: dict[int, tuple[Mapping[str, Any], Config]] = {}
        self._seen: set[int] = set()
        self._running: set[asyncio.Task[None]] = set()
        self._worker: asyncio.Task[None] | None = None

    def follow(self, task: Mapping[str, Any], project: int | None, config: Config) -> None:
        """An annotator works on `task`: the ones after it come next. Each task is looked up once."""
        number = task.get("id")
        if not (self._prefetch and self._client.has_key and isinstance(number, int) and project is not None):
            return
        if number not in self._seen:
            if len(self._seen) >= MOST_WAITING:
                self._seen.clear()
            self._seen.add(number)
            self._start(self._look_up(project, number, config))

    def put(self, tasks: Sequence[Mapping[str, Any]], config: Config) -> None:
        """Encode the images of these tasks, in order, when nothing else is waiting here."""
        for task in tasks[: max(MOST_WAITING - len(self._waiting), 0)]:
            if isinstance(task.get("id"), int):
                self._waiting[task["id"]] = (task, config)
        if self._waiting and self._worker is None:
            self._worker = asyncio.create_task(self._work())

    async def project(self, number: int) -> Config:
        """The labelling configuration of a project, asked of the server. Raises SamovarError."""
        found = await asyncio.to_thread(self._client.project, number)
        return parse(str(found.get("label_config", "")))

    def start_all(self, project: int, config: Config | None, numbers: Sequence[int]) -> None:
        """Encode the images of tasks of which only the numbers are known."""
        self._start(self._look_up_all(project, config, numbers))

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _look_up(self, project: int, after: int, config: Config) -> None:
        try:
            following = await asyncio.to_thread(lambda: list(islice(self._client.tasks(project, after, NEXT), NEXT)))
        except SamovarError as error:
            _log.warning("next tasks unknown", extra={"fields": {"project": project, "error": str(error)}})
            return
        self.put(following, config)

    async def _look_up_all(self, project: int, config: Config | None, numbers: Sequence[int]) -> None:
        try:
            config = config or await self.project(project)
            for number in numbers:
                self.put([await asyncio.to_thread(self._client.get, f"/api/tasks/{number}/")], config)
        except SamovarError as error:
            _log.warning("new tasks unknown", extra={"fields": {"project": project, "error": str(error)}})

    async def _work(self) -> None:
        while self._waiting:
            number = next(iter(self._waiting))
            task, config = self._waiting.pop(number)
            try:
                await self._predictor.embed(task, config)
                _log.info("encoded ahead", extra={"fields": {"task": number}})
            except SamovarError as error:
                _log.warning("not encoded ahead", extra={"fields": {"task": number, "error": str(error)}})
            except Exception as error:  # noqa: BLE001  (one image must not end the work on the others)
                _log.error("not encoded ahead", extra={"fields": {"task": number}}, exc_info=error)
        self._worker = None


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


def _labelled(config: Config) -> Iterable[str]:
    """The images that some tag labels. Raises InputError if there is none."""
    found = dict.fromkeys(control.to_name for control in config.controls)
    return found or [config.control(next(iter(config.images)), None).to_name]  # raises, and says what to add


def _number(task: Mapping[str, Any]) -> int | None:
    number = task.get("id")
    return number if isinstance(number, int) else None
