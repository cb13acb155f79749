"""`PropagateTracker`: follows objects with any segmenter, by moving their masks along with the picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from samovar.errors import InputError, PromptError
from samovar.image import Image
from samovar.masks import Masks
from samovar.prompts import Prompt, Prompts, PromptsLike
from samovar.runtime import Runtime
from samovar.tracking import Snapshot
from samovar.types import ObjectId
from samovar_adapters.video.propagate import saved
from samovar_adapters.video.propagate.asking import first_masks, prompt_for
from samovar_adapters.video.propagate.belief import (
    Field,
    clean,
    compete,
    log_odds,
    settle,
    signed_distance,
)
from samovar_adapters.video.propagate.flow import Flow, flow_between, motion_evidence
from samovar_adapters.video.propagate.target import LEARN_EVERY, Target
from samovar_adapters.video.propagate.view import View, view_of

__all__ = ["PropagateTracker"]

_MOVED, _MOVED_UNSURE = 0.4, 0.15  # weight of the moved mask; the share of it left where the flow is not to be trusted
_MOTION = 1.5  # weight of moving like the object
_ASKED = 1.0  # weight of the segmenter's answer, a pixel of distance to its edge
_LURKING = 1.0  # log odds by which a hidden object must look likelier than a seen one to claim a pixel
_AGREE = 0.5  # IoU with what is expected below which the segmenter's answer is about something else


class PropagateTracker:
    """Follows objects with any segmenter that takes boxes.

    In each frame, an object's last mask is moved along the optical flow. What the object and its surroundings have
    looked like, and whether a pixel moves with it or with the background, correct it; the result is a box, points and a
    mask with which the segmenter is asked. Its answer counts by how far it agrees. Several objects share the frame: no
    pixel belongs to two. The module `target` beside this one states when an object counts as hidden, and when
    it is seen again.

    All of this happens on frames scaled down to 480 pixels; memory does not grow with the length of the video. One
    tracker a video, used by one thread at a time.

    Args:
        runtime: answers the prompts. Frames are encoded through its cache.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._targets: list[Target] = []
        self._frame: Image | None = None
        self._view: View | None = None
        self._count = 0

    def start(self, frame: Image, prompts: PromptsLike) -> Masks:
        """See `samovar.tracking.Tracker.start`."""
        self._targets, self._count = [], 0
        self._frame, self._view = frame, view_of(frame.pixels)
        return self.add(prompts)

    def add(self, prompts: PromptsLike) -> Masks:
        """See `samovar.tracking.Tracker.add`."""
        frame, view = self._latest()
        asked = self._numbered(Prompts.of(prompts))
        masks = first_masks(self._runtime, frame, asked)
        for index, mask in enumerate(masks):
            if mask.areas[0] == 0:
                raise PromptError(f"prompt {asked.ids[index]!r} found nothing in {frame.name}; prompt another place")
            chance = view.shrink(mask.to_array()[0])
            target = Target(asked.ids[index], asked.labels[index] if asked.labels else None, chance, 0.0)
            target.teach(view, chance)
            self._targets.append(target)
        return self._masks(view, {target.id: mask for target, mask in zip(self._targets[-len(asked) :], masks)})

    def step(self, frame: Image) -> Masks:
        """See `samovar.tracking.Tracker.step`."""
        before = self._latest()[1]
        if (frame.width, frame.height) != (before.width, before.height):
            raise InputError(
                f"{frame.name}: expected a frame of {before.width}×{before.height} like the first; got "
                f"{frame.width}×{frame.height}; scale the frames to one size"
            )
        view = view_of(frame.pixels)
        self._count += 1
        seen = [target for target in self._targets if not target.hidden]
        wide = {target.id: target.anywhere(view) for target in self._targets if target.hidden}
        if seen:
            self._follow(seen, list(wide.values()), frame, view, flow_between(before.grey, view.grey))
        for target in self._targets:
            if target.hidden:
                self._look_for(target, wide.get(target.id), frame, view)
        self._frame, self._view = frame, view
        return self._masks(view)

    def remove(self, ids: Iterable[ObjectId]) -> None:
        """See `samovar.tracking.Tracker.remove`."""
        for gone in [self._target(one) for one in ids]:
            self._targets.remove(gone)

    def correct(self, id: ObjectId, prompt: Prompt) -> Masks:
        """See `samovar.tracking.Tracker.correct`."""
        frame, view = self._latest()
        target = self._target(id)
        mask = first_masks(self._runtime, frame, Prompts.of(prompt))[0]
        if mask.areas[0] == 0:
            raise PromptError(f"the correction of {id!r} found nothing in {frame.name}; prompt another place")
        target.teach(view, view.shrink(mask.to_array()[0]))
        return self._masks(view, {id: mask})

    def prefetch(self, frames: Iterable[Image]) -> None:
        """See `samovar.tracking.Tracker.prefetch`."""
        self._runtime.prefetch(frames)

    def snapshot(self) -> Snapshot:
        """See `samovar.tracking.Tracker.snapshot`."""
        frame, _ = self._latest()
        return saved.pack(self._targets, frame, self._count)

    def restore(self, snapshot: Snapshot) -> None:
        """See `samovar.tracking.Tracker.restore`."""
        self._targets, self._frame, self._count = saved.unpack(snapshot)
        self._view = view_of(self._frame.pixels)

    # ------------------------------------------------------------------------------------------------- one frame

    def _follow(self, seen: Sequence[Target], hidden: Sequence[Field], frame: Image, view: View, flow: Flow) -> None:
        moved = [flow.warp(target.chance) for target in seen]
        looks, odds = [], []
        for target, chance in zip(seen, moved):
            like, near = target.looks(view, chance)
            motion = motion_evidence(flow.back, chance > 0.5, near)
            held = _MOVED * log_odds(chance) * (_MOVED_UNSURE + (1 - _MOVED_UNSURE) * flow.trust)
            looks.append(like)
            odds.append(held + like + _MOTION * motion)
        lurking = [wide - _LURKING for wide in hidden]
        odds = compete(self._advised(frame, view, compete(odds, lurking)), lurking)
        for target, chance, like, odd in zip(seen, moved, looks, odds):
            mask, soft = clean(settle(odd, view.grey) > 0.5, chance > 0.5)
            target.see(view, mask, soft, like, learn=self._count % LEARN_EVERY == 0)

    def _advised(self, frame: Image, view: View, odds: list[Field]) -> list[Field]:
        """The log odds with the segmenter's answers to prompts made of them."""
        places = [index for index, odd in enumerate(odds) if (odd > 0).any()]
        if not places:
            return odds
        kinds = self._runtime.segmenter.prompt_kinds
        rows = [prompt_for(view, odds[index], kinds) for index in places]
        odds = list(odds)
        for index, answer in zip(places, first_masks(self._runtime, frame, Prompts.of(rows))):
            mask, expected = view.shrink(answer.to_array()[0]) > 0.5, odds[index] > 0
            union = np.count_nonzero(mask | expected)
            agreement = np.count_nonzero(mask & expected) / union if union else 0.0
            weight = _ASKED * max(0.0, agreement - _AGREE) / (1 - _AGREE)
            if weight and mask.any() and not mask.all():
                odds[index] = odds[index] + weight * np.clip(signed_distance(mask), -2, 2)
        return odds

    def _look_for(self, target: Target, wide: Field | None, frame: Image, view: View) -> None:
        taken = np.zeros(view.grey.shape, np.bool_)
        for other in self._targets:
            taken |= other.chance > 0.5
        place = target.search(target.anywhere(view) if wide is None else wide, taken)
        if place is None:
            target.hide()
            return
        odds = np.clip(signed_distance(place), -4, 4)
        prompt = prompt_for(view, odds, self._runtime.segmenter.prompt_kinds)
        answer = first_masks(self._runtime, frame, Prompts.of(prompt))[0]
        for mask in ((view.shrink(answer.to_array()[0]) > 0.5) & ~taken, place):
            if target.recognises(view, mask):
                target.chance, target.hidden, target.score = clean(mask, mask)[1], 0, 0.5
                return
        target.hide()

    # ------------------------------------------------------------------------------------------------- small parts

    def _latest(self) -> tuple[Image, View]:
        if self._frame is None or self._view is None:
            raise InputError("no frame yet; call start(frame, prompts) first")
        return self._frame, self._view

    def _target(self, id: ObjectId) -> Target:
        for target in self._targets:
            if target.id == id:
                return target
        known = ", ".join(repr(target.id) for target in self._targets) or "none"
        raise InputError(f"no object {id!r} is followed; there are: {known}")

    def _numbered(self, asked: Prompts) -> Prompts:
        """The prompts with an id each, none of them taken."""
        ids: list[ObjectId] = list(asked.ids) or [None] * len(asked)
        taken = {target.id for target in self._targets} | {one for one in ids if one is not None}
        if len(taken) < len(self._targets) + sum(one is not None for one in ids):
            raise PromptError("every object needs an id of its own; got one twice; leave ids out to have them numbered")
        free = (number for number in range(1, len(ids) + len(taken) + 1) if number not in taken)
        return replace(asked, ids=tuple(next(free) if one is None else one for one in ids))

    def _masks(self, view: View, given: dict[ObjectId, Masks] | None = None) -> Masks:
        """All objects' masks; those in `given` as they are, the others from the small frame."""
        rows = []
        for target in self._targets:
            mask = (given or {}).get(target.id)
            if mask is None:
                mask = Masks.from_array(view.enlarge(target.chance)[None] > 0.5)
            rows.append(mask.replace(ids=[target.id], labels=[target.label], scores=[target.score]))
        if not rows:
            return Masks.empty(view.width, view.height)
        return Masks.concat(rows).replace(prompt_index=np.arange(len(rows)))
