"""`MemoryTracker`: SAM 2's own tracker, with its memory of earlier frames, fed one frame at a time.

The networks behind the encoder are Hugging Face's (transformers). The bookkeeping around them is done here and not by
their session, which keeps every frame and every output for good, runs all objects again when one is added, and forgets,
when a mask is corrected by a click, what the mask was before. So two of their model's methods that are not public are
called, `_run_single_frame_inference` and `_encode_new_memory`: no public one gives an object's answer by itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Pillow
from torch import Tensor
from torch.nn import functional

from samovar.cache import Cache
from samovar.errors import InputError, PromptError
from samovar.image import Image
from samovar.masks import Masks
from samovar.prompts import Prompt, Prompts, PromptsLike
from samovar.protocols import EmbeddingCache
from samovar.tracking import Snapshot
from samovar.types import ObjectId
from samovar_plugins.toolkit import SamSegmenter

__all__ = ["MemoryTracker"]

_KEPT = 17  # frames: what attention to earlier masks (7) and to object pointers (16) can reach
_MOST = 32.0  # logits of an earlier mask that is fed back, as in Meta's predictor
_BOX = 2, 3  # labels of a box's corners among the points
_TOP_LEFT, _BOTTOM_RIGHT = _BOX
_KIND = "memory-1"
_PARTS = ("cond_frame_outputs", "non_cond_frame_outputs")


@dataclass
class _Object:
    """One object's place in the session, and what was asked of it in the latest frame."""

    id: ObjectId
    label: str | None
    place: int
    coords: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    kinds: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))


class MemoryTracker:
    """See `samovar.tracking.Tracker`. Masks, boxes and clicks may start and correct an object, in any frame.

    What a correction asks for comes on top of the frame's earlier prompts for that object, as in SAM 2. Nothing older
    than 17 frames is kept but the frames in which somebody prompted, so memory does not grow with the video's length.

    Args:
        model: a `Sam2VideoModel`, or another of transformers' with the same inside. Its vision encoder is not used.
        session: makes a new, empty session of that model's kind: `session(height, width)`.
        encoder: encodes frames: "image", "middle" and "fine", as SAM 2's decoder takes them.
        cache: what frames are encoded through; None: nothing is kept.
        whole: whether one step of the model ends with its memory of the frame (EdgeTAM's), or leaves that to be done.
    """

    def __init__(
        self,
        model: Any,
        session: Callable[[int, int], Any],
        encoder: SamSegmenter,
        cache: EmbeddingCache | None = None,
        *,
        whole: bool = False,
    ) -> None:
        self._model, self._new_session, self._whole = model, session, whole
        self._encoder = encoder
        self._cache: EmbeddingCache = Cache() if cache is None else cache
        self._device, self._dtype = encoder.device, encoder.dtype
        self._places = _places(model).to(self._device, self._dtype)
        self._session: Any = None
        self._frame: Image | None = None
        self._number = 0
        self._objects: list[_Object] = []
        self._logits: dict[int, Tensor] = {}
        self._scores: dict[int, Tensor] = {}

    def start(self, frame: Image, prompts: PromptsLike) -> Masks:
        """See `samovar.tracking.Tracker.start`."""
        self._session = self._new_session(frame.height, frame.width)
        self._number, self._objects, self._logits, self._scores = 0, [], {}, {}
        self._look_at(frame)
        return self.add(prompts)

    def step(self, frame: Image) -> Masks:
        """See `samovar.tracking.Tracker.step`."""
        latest = self._latest()
        if (frame.width, frame.height) != (latest.width, latest.height):
            raise InputError(
                f"{frame.name}: expected a frame of {latest.width}×{latest.height} like the first; got "
                f"{frame.width}×{frame.height}; scale the frames to one size"
            )
        self._number += 1
        self._look_at(frame)
        for one in self._objects:
            one.coords, one.kinds = one.coords[:0], one.kinds[:0]
            self._infer(one)
        self._forget()
        return self._masks()

    def add(self, prompts: PromptsLike) -> Masks:
        """See `samovar.tracking.Tracker.add`."""
        asked = Prompts.of(prompts)
        self._check(asked)
        ids = self._numbered(list(asked.ids) or [None] * len(asked))
        for ident, prompt in zip(ids, asked):
            place = self._session.obj_id_to_idx(1 + max((one.place for one in self._objects), default=-1))
            one = _Object(ident, prompt.label, place)
            self._objects.append(one)
            self._prompt(one, prompt)
        return self._masks()

    def remove(self, ids: Iterable[ObjectId]) -> None:
        """See `samovar.tracking.Tracker.remove`."""
        for gone in [self._known(one) for one in ids]:
            self._objects.remove(gone)
            kept = self._session.output_dict_per_obj[gone.place]
            kept["cond_frame_outputs"].clear()
            kept["non_cond_frame_outputs"].clear()
            self._session.frames_tracked_per_obj[gone.place].clear()  # the next object may get its place

    def correct(self, id: ObjectId, prompt: Prompt) -> Masks:
        """See `samovar.tracking.Tracker.correct`."""
        self._check(Prompts.of(prompt))
        self._prompt(self._known(id), prompt)
        return self._masks()

    def snapshot(self) -> Snapshot:
        """See `samovar.tracking.Tracker.snapshot`."""
        frame = self._latest()
        objects = [
            {
                "id": one.id,
                "label": one.label,
                "place": one.place,
                "coords": one.coords.tolist(),
                "kinds": one.kinds.tolist(),
                "tracked": sorted(self._session.frames_tracked_per_obj[one.place]),
            }
            for one in self._objects
        ]
        memory = {one.place: self._session.output_dict_per_obj[one.place] for one in self._objects}
        return _pack({"number": self._number, "name": frame.name, "objects": objects}, memory, frame.pixels)

    def restore(self, snapshot: Snapshot) -> None:
        """See `samovar.tracking.Tracker.restore`."""
        told, memory, pixels = _unpack(snapshot, self._device)
        frame = Image(pixels, name=told["name"])
        self._session = self._new_session(frame.height, frame.width)
        self._number, self._objects, self._logits, self._scores = told["number"], [], {}, {}
        self._look_at(frame)
        for place in range(1 + max((row["place"] for row in told["objects"]), default=-1)):
            self._session.obj_id_to_idx(place)
        for row in told["objects"]:
            place = row["place"]
            coords = np.array(row["coords"], np.float32).reshape(-1, 2)
            self._objects.append(_Object(row["id"], row["label"], place, coords, np.array(row["kinds"], np.int32)))
            self._session.frames_tracked_per_obj[place] = {number: {"reverse": False} for number in row["tracked"]}
            self._session.output_dict_per_obj[place] = memory[place]
            latest = {**memory[place]["cond_frame_outputs"], **memory[place]["non_cond_frame_outputs"]}[self._number]
            self._logits[place], self._scores[place] = latest["pred_masks"], latest["object_score_logits"]

    def prefetch(self, frames: Iterable[Image]) -> None:
        """See `samovar.tracking.Tracker.prefetch`."""
        self._cache.prefetch([self._small(frame) for frame in frames], self._encoder)

    def logits(self) -> dict[ObjectId, NDArray[np.float32]]:
        """Each object's low-resolution mask logits in the latest frame, h×w float32."""
        return {one.id: self._logits[one.place][0, 0].float().cpu().numpy() for one in self._objects}

    # ------------------------------------------------------------------------------------------------- inside

    def _look_at(self, frame: Image) -> None:
        """Encode the frame, and put its features where the model looks for those that it has made itself."""
        (embedding,) = self._cache.get_or_encode([self._small(frame)], self._encoder).embeddings
        fine, middle, image = (
            self._encoder.tensor(embedding, name).to(self._dtype).flatten(1).t()[:, None]
            for name in ("fine", "middle", "image")
        )
        # What stands for "no memory" is part of the embedding; the model adds it, or a memory, itself.
        features = {"vision_feats": [fine, middle, image - self._model.no_memory_embedding[0].detach()]}
        self._session.cache.cache_vision_features(self._number, features | {"vision_pos_embeds": [self._places]})
        self._frame = frame

    def _small(self, frame: Image) -> Image:
        """The frame in the encoder's square, resized as Meta's predictor does it; another filter makes a difference."""
        side = self._encoder.side
        small = Pillow.fromarray(frame.pixels).resize((side, side), Pillow.Resampling.BICUBIC)
        return Image(np.asarray(small), name=frame.name)

    def _check(self, prompts: Prompts) -> None:
        """Raise PromptError unless all of them can be asked for in the latest frame."""
        frame = self._latest()
        prompts.check_inside(frame.width, frame.height)
        for prompt in prompts:
            alone = prompt.kinds == {"mask"} and isinstance(prompt.mask, Masks)
            if not alone and not prompt.kinds <= {"points", "box"}:
                got = "logits" if isinstance(prompt.mask, np.ndarray) else " and ".join(sorted(prompt.kinds))
                raise PromptError(
                    f"the memory engine takes points and a box, or a mask in pixels by itself; got {got}; "
                    "leave the rest out"
                )

    def _prompt(self, one: _Object, prompt: Prompt) -> None:
        """Ask for the object in the latest frame, by a prompt that was checked."""
        frame, side = self._latest(), int(self._model.image_size)
        if isinstance(prompt.mask, Masks):
            mask = torch.from_numpy(prompt.mask.to_array()[0].astype(np.float32))[None, None]
            size = (side, side)
            fitted = functional.interpolate(mask, size, mode="bilinear", align_corners=False, antialias=True) >= 0.5
            self._infer(one, mask=fitted.float())
            return
        scale = np.array([side / frame.width, side / frame.height], np.float32)
        if prompt.box is not None:  # a box comes first, and starts anew
            one.coords = prompt.box.reshape(2, 2) * scale
            one.kinds = np.array([_TOP_LEFT, _BOTTOM_RIGHT], np.int32)
        if prompt.points is not None and prompt.point_labels is not None:
            one.coords = np.concatenate([one.coords, prompt.points * scale])
            one.kinds = np.concatenate([one.kinds, prompt.point_labels.astype(np.int32)])
        points = {
            "point_coords": torch.from_numpy(one.coords.astype(np.float32))[None, None].to(self._device, self._dtype),
            "point_labels": torch.from_numpy(one.kinds.astype(np.int32))[None, None].to(self._device),
        }
        self._infer(one, points=points)

    def _infer(self, one: _Object, points: dict[str, Tensor] | None = None, mask: Tensor | None = None) -> None:
        """The object's mask in the latest frame, and its memory of it."""
        with torch.inference_mode():
            session, number, place = self._session, self._number, one.place
            asked = points is not None or mask is not None
            kept = session.output_dict_per_obj[place]
            first = asked and number not in session.frames_tracked_per_obj[place]
            earlier = kept["cond_frame_outputs"].get(number) or kept["non_cond_frame_outputs"].get(number)
            again = points is not None and earlier is not None
            whole = {"run_mem_encoder": not asked} if self._whole else {}
            out = self._model._run_single_frame_inference(
                inference_session=session,
                obj_idx=place,
                frame_idx=number,
                batch_size=1,
                is_init_cond_frame=first,
                point_inputs=points,
                mask_inputs=None if mask is None else mask.to(self._device, self._dtype),
                reverse=False,
                prev_sam_mask_logits=earlier["pred_masks"].clamp(-_MOST, _MOST) if again else None,
                streaming=True,
                **whole,
            )
            if not first:
                session.frames_tracked_per_obj[place][number] = {"reverse": False}
            high = out.pop("high_res_masks", None)
            if asked:  # Meta's predictor remembers what was asked for from the small mask
                side = int(self._model.image_size)
                high = functional.interpolate(
                    out["pred_masks"].float(), (side, side), mode="bilinear", align_corners=False
                )
            if high is not None:
                features = session.cache.get_vision_features(number)["vision_feats"]
                out["maskmem_features"], out["maskmem_pos_enc"] = self._model._encode_new_memory(
                    current_vision_feats=features[-1],
                    pred_masks_high_res=high.to(self._dtype),
                    object_score_logits=out["object_score_logits"],
                    is_mask_from_pts=asked,
                )
            session.store_output(place, number, output_value=out, is_conditioning_frame=first)
            self._logits[place], self._scores[place] = out["pred_masks"], out["object_score_logits"]

    def _forget(self) -> None:
        """Drop what no later frame can reach."""
        old = self._number - _KEPT
        for one in self._objects:
            self._session.output_dict_per_obj[one.place]["non_cond_frame_outputs"].pop(old, None)
            self._session.frames_tracked_per_obj[one.place].pop(old, None)

    def _masks(self) -> Masks:
        frame = self._latest()
        rows = []
        for one in self._objects:
            logits = self._logits[one.place].float()
            size = (frame.height, frame.width)
            large = functional.interpolate(logits, size, mode="bilinear", align_corners=False)[0]
            score = float(torch.sigmoid(self._scores[one.place].float()).max())
            mask = Masks.from_array((large > 0).cpu().numpy())
            seen = mask.areas[0] > 0
            rows.append(mask.replace(ids=[one.id], labels=[one.label], scores=[score if seen else 0.0]))
        if not rows:
            return Masks.empty(frame.width, frame.height)
        return Masks.concat(rows).replace(prompt_index=np.arange(len(rows)))

    def _latest(self) -> Image:
        if self._frame is None:
            raise InputError("no frame yet; call start(frame, prompts) first")
        return self._frame

    def _known(self, ident: ObjectId) -> _Object:
        for one in self._objects:
            if one.id == ident:
                return one
        known = ", ".join(repr(one.id) for one in self._objects) or "none"
        raise InputError(f"no object {ident!r} is followed; there are: {known}")

    def _numbered(self, ids: list[ObjectId]) -> list[ObjectId]:
        """The ids with the missing ones filled in. Raises PromptError for one that is taken."""
        given = [one for one in ids if one is not None]
        taken = {one.id for one in self._objects} | set(given)
        if len(taken) < len(self._objects) + len(given):
            raise PromptError("every object needs an id of its own; got one twice; leave ids out to have them numbered")
        free = (number for number in range(1, len(ids) + len(taken) + 1) if number not in taken)
        return [next(free) if one is None else one for one in ids]


def _places(model: Any) -> Tensor:
    """L×1×C float32: the sine encoding of every place on the grid of a model's coarsest features."""
    height, width = model.backbone_feature_sizes[-1]
    sine = type(model.memory_encoder.position_encoding)(model.hidden_dim // 2, normalize=True)
    encoded: Tensor = sine(torch.Size((1, model.hidden_dim, height, width)), "cpu", torch.float32)
    return encoded.flatten(2).permute(2, 0, 1)


def _pack(told: dict[str, Any], memory: dict[int, Any], frame: NDArray[np.uint8]) -> Snapshot:
    """The arrays.

    Args:
        told: whatever else is to be kept, as JSON takes it.
        memory: place of an object → the session's outputs for it.
        frame: the latest, H×W×3 uint8.
    """
    arrays: dict[str, NDArray[Any]] = {"frame": frame}
    kinds: dict[str, str] = {}
    for place, outputs in memory.items():
        for part in _PARTS:
            for number, out in outputs[part].items():
                for name, value in out.items():
                    key = f"{place}-{part}-{number}-{name}"
                    kinds[key] = str(value.dtype).removeprefix("torch.")
                    # NumPy has no bfloat16: its bits go as integers.
                    plain = value.view(torch.int16) if value.dtype == torch.bfloat16 else value
                    arrays[key] = plain.cpu().numpy()
    arrays["state"] = np.array(json.dumps({"kind": _KIND, "kinds": kinds, **told}))
    return arrays


def _unpack(snapshot: Snapshot, device: str) -> tuple[dict[str, Any], dict[int, Any], NDArray[np.uint8]]:
    """What `_pack` was given. Raises InputError for another tracker's snapshot."""
    try:
        told = json.loads(str(snapshot["state"]))
        kind = told["kind"]
    except (KeyError, TypeError, ValueError):
        kind = "something else"
    if kind != _KIND:
        raise InputError(f"expected the snapshot of a {_KIND} tracker; got {kind}; track from the start instead")
    memory: dict[int, Any] = {}
    for key, kept in told["kinds"].items():
        place, part, number, name = key.split("-")
        outputs = memory.setdefault(int(place), {part: {} for part in _PARTS})
        outputs[part].setdefault(int(number), {})[name] = _tensor(snapshot[key], kept, device)
    return told, memory, snapshot["frame"]


def _tensor(array: NDArray[Any], kind: str, device: str) -> Tensor:
    tensor = torch.from_numpy(np.array(array))
    return (tensor.view(torch.bfloat16) if kind == "bfloat16" else tensor).to(device)
