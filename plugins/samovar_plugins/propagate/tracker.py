"""`PropagateTracker`: follows objects with any segmenter, by moving their masks along with the image."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from samovar.errors import InputError, PromptError
from samovar.image import Image
from samovar.masks import Masks
from samovar.prompts import Prompt, Prompts, PromptsLike
from samovar.protocols import PromptSource
from samovar.runtime import Runtime
from samovar.tracking import Snapshot
from samovar.types import ObjectId
from samovar_plugins.propagate.probability import (
    Field,
    clean,
    compete,
    log_odds,
    probability,
    settle,
    signed_distance,
)
from samovar_plugins.propagate.target import LEARN_EVERY, Appearance, Examples, Target
from samovar_plugins.propagate.view import Flow, View, flow_between, motion_evidence, view_of

__all__ = ["PropagateTracker", "open_propagate"]

_MOVED, _MOVED_UNSURE = 0.4, 0.15  # weight of the moved mask; the share of it left where the flow is not to be trusted
_MOTION = 1.5  # weight of moving like the object
_ASKED = 1.0  # weight of the segmenter's answer, a pixel of distance to its edge
_LURKING = 1.0  # log odds by which a hidden object must look likelier than a seen one to claim a pixel
_AGREE = 0.5  # IoU with what is expected below which the segmenter's answer is about something else
_KIND = "propagate-2"  # of the snapshots, whose names stay what they were in older checkpoints


def open_propagate(runtime: Runtime, /, *, source: PromptSource | None = None) -> PropagateTracker:
    """The tracker "propagate", which follows what prompts ask for and needs no source."""
    return PropagateTracker(runtime)


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
        """See `samovar.tracking.EditableTracker.add`."""
        frame, view = self._latest()
        asked = self._numbered(Prompts.of(prompts))
        masks = _first_masks(self._runtime, frame, asked)
        for index, mask in enumerate(masks):
            if mask.areas[0] == 0:
                raise PromptError(f"prompt {asked.ids[index]!r} found nothing in {frame.name}; prompt another place")
            probability = view.shrink(mask.to_array()[0])
            target = Target(asked.ids[index], asked.labels[index] if asked.labels else None, probability, 0.0)
            target.init(view, probability)
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
        """See `samovar.tracking.EditableTracker.remove`."""
        for gone in [self._target(one) for one in ids]:
            self._targets.remove(gone)

    def correct(self, id: ObjectId, prompt: Prompt) -> Masks:
        """See `samovar.tracking.EditableTracker.correct`."""
        frame, view = self._latest()
        target = self._target(id)
        mask = _first_masks(self._runtime, frame, Prompts.of(prompt))[0]
        if mask.areas[0] == 0:
            raise PromptError(f"the correction of {id!r} found nothing in {frame.name}; prompt another place")
        target.init(view, view.shrink(mask.to_array()[0]))
        return self._masks(view, {id: mask})

    def prefetch(self, frames: Iterable[Image]) -> None:
        """See `samovar.tracking.PrefetchingTracker.prefetch`."""
        self._runtime.prefetch(frames)

    def snapshot(self) -> Snapshot:
        """See `samovar.tracking.ResumableTracker.snapshot`."""
        frame, _ = self._latest()
        return _pack(self._targets, frame, self._count)

    def restore(self, snapshot: Snapshot) -> None:
        """See `samovar.tracking.ResumableTracker.restore`."""
        self._targets, self._frame, self._count = _unpack(snapshot)
        self._view = view_of(self._frame.pixels)

    # ------------------------------------------------------------------------------------------------- one frame

    def _follow(self, seen: Sequence[Target], hidden: Sequence[Field], frame: Image, view: View, flow: Flow) -> None:
        moved = [flow.warp(target.probability) for target in seen]
        likelihoods, odds = [], []
        for target, prior in zip(seen, moved):
            likelihood, near = target.likelihood(view, prior)
            motion = motion_evidence(flow.back, prior > 0.5, near)
            held = _MOVED * log_odds(prior) * (_MOVED_UNSURE + (1 - _MOVED_UNSURE) * flow.trust)
            likelihoods.append(likelihood)
            odds.append(held + likelihood + _MOTION * motion)
        lurking = [wide - _LURKING for wide in hidden]
        odds = compete(self._advised(frame, view, compete(odds, lurking)), lurking)
        for target, prior, likelihood, odd in zip(seen, moved, likelihoods, odds):
            mask, soft = clean(settle(odd, view.grey) > 0.5, prior > 0.5)
            target.update(view, mask, soft, likelihood, learn=self._count % LEARN_EVERY == 0)

    def _advised(self, frame: Image, view: View, odds: list[Field]) -> list[Field]:
        """The log odds with the segmenter's answers to prompts made of them."""
        places = [index for index, odd in enumerate(odds) if (odd > 0).any()]
        if not places:
            return odds
        kinds = self._runtime.segmenter.prompt_kinds
        rows = [_prompt_for(view, odds[index], kinds) for index in places]
        odds = list(odds)
        for index, answer in zip(places, _first_masks(self._runtime, frame, Prompts.of(rows))):
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
            taken |= other.probability > 0.5
        place = target.search(target.anywhere(view) if wide is None else wide, taken)
        if place is None:
            target.occlude()
            return
        odds = np.clip(signed_distance(place), -4, 4)
        prompt = _prompt_for(view, odds, self._runtime.segmenter.prompt_kinds)
        answer = _first_masks(self._runtime, frame, Prompts.of(prompt))[0]
        for mask in ((view.shrink(answer.to_array()[0]) > 0.5) & ~taken, place):
            if target.verify(view, mask):
                target.probability, target.hidden, target.score = clean(mask, mask)[1], 0, 0.5
                return
        target.occlude()

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
                mask = Masks.from_array(view.enlarge(target.probability)[None] > 0.5)
            rows.append(mask.replace(ids=[target.id], labels=[target.label], scores=[target.score]))
        if not rows:
            return Masks.empty(view.width, view.height)
        return Masks.concat(rows).replace(prompt_index=np.arange(len(rows)))


def _first_masks(runtime: Runtime, frame: Image, prompts: Prompts) -> Masks:
    """One mask a prompt, in their order. A mask at the frame's size and nothing else is taken as it is."""
    given = [_given(prompt) for prompt in prompts]
    asked = [index for index, mask in enumerate(given) if mask is None]
    answers = runtime.segment(frame, [prompts[index] for index in asked]) if asked else None
    rows = list(given)
    for place, index in enumerate(asked):
        if answers is not None:
            rows[index] = answers[answers.prompt_index == place][:1]
    empty = Masks.empty(frame.width, frame.height)
    return Masks.concat([empty, *(row if row is not None and len(row) else _nothing(frame) for row in rows)])


def _given(prompt: Prompt) -> Masks | None:
    return prompt.mask if isinstance(prompt.mask, Masks) and prompt.kinds == {"mask"} else None


def _nothing(frame: Image) -> Masks:
    return Masks.from_array(np.zeros((1, frame.height, frame.width), np.bool_))


def _prompt_for(view: View, odds: Field, kinds: frozenset[str]) -> Prompt:
    """The box around where the log odds are positive, the point deepest inside, and the odds themselves as a mask.

    Args:
        kinds: the kinds of prompt that may be given together; a box is always among them.
    """
    inside = odds > 0
    rows, columns = np.nonzero(inside)
    scale = np.array([view.width / odds.shape[1], view.height / odds.shape[0]], np.float32)
    low = np.array([columns.min(), rows.min()]) * scale
    high = np.array([columns.max() + 1, rows.max() + 1]) * scale
    more: dict[str, Any] = {}
    if "mask" in kinds:
        more["mask"] = Masks.from_array(view.enlarge(probability(odds))[None] > 0.5)
    elif "points" in kinds:
        more["points"] = (_deepest(inside) * scale)[None]
    return Prompt(box=np.concatenate([low, np.minimum(high, [view.width, view.height])]), **more)


def _deepest(inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    depth = cv2.distanceTransform(np.pad(inside.astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    row, column = np.unravel_index(int(np.argmax(depth)), depth.shape)
    return np.array([column + 0.5, row + 0.5], np.float32)


def _pack(targets: Sequence[Target], frame: Image, count: int) -> Snapshot:
    """All that a tracker knows after `frame`, its `count`-th step."""
    told = [
        {
            "id": target.id,
            "label": target.label,
            "usual": target.reference_area,
            "hidden": target.hidden,
            "score": target.score,
            "frames": len(target.appearance.frames),
        }
        for target in targets
    ]
    state = {"kind": _KIND, "count": count, "name": frame.name, "targets": told}
    arrays: dict[str, NDArray[Any]] = {"state": np.array(json.dumps(state)), "frame": frame.pixels}
    for index, target in enumerate(targets):
        arrays[f"chance-{index}"] = target.probability
        for number, seen in enumerate(target.appearance.frames):
            arrays.update({f"{part}-{index}-{number}": array for part, array in seen._asdict().items()})
    return arrays


def _unpack(snapshot: Snapshot) -> tuple[list[Target], Image, int]:
    """The targets, the latest frame and the number of steps. Raises InputError for another tracker's snapshot."""
    try:
        state = json.loads(str(snapshot["state"]))
        kind = state["kind"]
    except (KeyError, TypeError, ValueError):
        kind = "something else"
    if kind != _KIND:
        raise InputError(f"expected the snapshot of a {_KIND} tracker; got {kind}; track from the start instead")
    targets = []
    for index, told in enumerate(state["targets"]):
        frames = [
            Examples(*(snapshot[f"{part}-{index}-{number}"] for part in Examples._fields))
            for number in range(told.pop("frames"))
        ]
        known = {"probability": snapshot[f"chance-{index}"], "reference_area": told.pop("usual")}
        targets.append(Target(appearance=Appearance(frames), **known, **told))
    return targets, Image(snapshot["frame"], name=state["name"]), int(state["count"])
