"""Both sides of the comparison in `benchmarks.sam`: the same weights in the reference's model and in ours."""

from __future__ import annotations

import argparse
import platform
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from samovar import Masks, Prompts
from samovar.protocols import DecodeOptions

SIZES = {"1.5": (1500, 1000), "12": (4242, 2828)}
"""Width and height of 1.5 and 12 megapixels, of one shape, so that one embedding serves both."""

ENCODERS = {"vit_b": (768, 12, 12), "vit_l": (1024, 24, 16), "vit_h": (1280, 32, 16)}
"""Channels, blocks and heads."""


def boxes(count: int, width: int, height: int) -> np.ndarray:
    """count×4 float32: from a twentieth to half of the image's shorter side."""
    random = np.random.default_rng(0)
    size = random.uniform(0.05, 0.5, (count, 2)) * min(width, height)
    corner = random.uniform(0, 1, (count, 2)) * ([width, height] - size)
    return np.concatenate([corner, corner + size], axis=1).astype(np.float32)


def encoded(mask: np.ndarray) -> bytes:
    """Compressed COCO counts of an H×W mask."""
    from pycocotools import mask as coco

    counts: bytes = coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
    return counts


class Sides:
    """Both implementations over the same weights and one embedded photo."""

    def __init__(self, options: argparse.Namespace) -> None:
        import torch
        from segment_anything import SamPredictor, sam_model_registry

        from samovar_plugins.sam.plugin import build_sam
        from samovar_plugins.toolkit import assemble
        from tests.plugins.sam.structured import structured_weights
        from tests.plugins.sam.weights import Sizes

        self.torch, self.options = torch, options
        torch.set_num_threads(options.threads)
        torch.set_grad_enabled(False)
        sizes = Sizes(1024, 256, *ENCODERS[options.encoder], 14, 2048)
        weights = structured_weights("sam", sizes, objects=True)
        self.weights = weights
        self.reference = sam_model_registry[options.encoder]()
        self.reference.load_state_dict(weights)
        self.reference = self.reference.eval().to(options.device)
        auto = "float32" if options.device == "cpu" else "bfloat16"
        self.dtype = getattr(torch, auto if options.dtype == "auto" else options.dtype)
        ours = assemble(
            "bench", lambda given: build_sam("sam", given.state), weights, device=options.device, dtype=self.dtype
        )
        self.ours: Any = ours
        self.predictor = SamPredictor(self.reference)
        self.photo = self._photo(*SIZES["1.5"])
        self.embedding = self.ours.encode([self.photo])[0]

    def _photo(self, width: int, height: int) -> Any:
        import PIL.Image

        from samovar import Image
        from tests.conftest import ROOT

        with PIL.Image.open(ROOT / "docs" / "assets" / "photo.jpg") as photo:
            return Image(photo.convert("RGB").resize((width, height), PIL.Image.Resampling.BICUBIC))

    @property
    def where(self) -> str:
        """What it runs on, in words."""
        if self.options.device.startswith("cuda"):
            return str(self.torch.cuda.get_device_name(self.options.device))
        name = platform.processor() or platform.machine()
        known = Path("/proc/cpuinfo")
        if known.is_file():
            facts = dict(line.split("\t", 1) for line in known.read_text(encoding="utf-8").splitlines() if "\t" in line)
            words = [facts.get(fact, "").strip("\t: ") for fact in ("model name", "cpu family", "model")]
            name = "{} (family {}, model {})".format(*words)
        return f"{name}, {self.options.threads} thread(s)"

    def synchronised(self, side: Callable[[], Any]) -> Callable[[], Any]:
        """`side`, waiting for the device to finish."""
        if not self.options.device.startswith("cuda"):
            return side

        def wait() -> Any:
            answer = side()
            self.torch.cuda.synchronize()
            return answer

        return wait

    def look_at(self, size: str) -> Any:
        """Give the reference's predictor our embedding as that of an image of `size`; return ours."""
        width, height = SIZES[size]
        predictor = self.predictor
        predictor.features = self.ours.tensor(self.embedding, "image")[None].float()
        predictor.original_size = (height, width)
        predictor.input_size = predictor.transform.get_preprocess_shape(height, width, 1024)
        predictor.is_image_set = True
        return replace(self.embedding, width=width, height=height)

    # ------------------------------------------------------------------------------------------------- reference

    def reference_logits(self, given: np.ndarray, chunk: int) -> Any:
        """N×1×256×256 by the reference's decoder, `chunk` boxes at a time."""
        torch, sam, predictor = self.torch, self.reference, self.predictor
        scaled = torch.as_tensor(predictor.transform.apply_boxes(given, predictor.original_size), dtype=torch.float)
        found = []
        for part in scaled.to(self.options.device).split(chunk):
            sparse, dense = sam.prompt_encoder(points=None, boxes=part, masks=None)
            found.append(
                sam.mask_decoder(
                    image_embeddings=predictor.features,
                    image_pe=sam.prompt_encoder.get_dense_pe(),
                    sparse_prompt_embeddings=sparse,
                    dense_prompt_embeddings=dense,
                    multimask_output=False,
                )[0]
            )
        return torch.cat(found)

    def reference_rle(self, given: np.ndarray, chunk: int) -> list[bytes]:
        """Compressed COCO counts by `predict_torch` and pycocotools."""
        found = []
        for start in range(0, len(given), chunk):
            scaled = self.predictor.transform.apply_boxes(given[start : start + chunk], self.predictor.original_size)
            tensor = self.torch.as_tensor(scaled, dtype=self.torch.float, device=self.options.device)
            masks, _, _ = self.predictor.predict_torch(None, None, tensor, multimask_output=False)
            found += [encoded(mask) for mask in masks[:, 0].cpu().numpy()]
        return found

    # ------------------------------------------------------------------------------------------------- ours

    def decode(self, embedding: Any, prompts: Prompts, **options: Any) -> Masks:
        """Our masks."""
        masks: Masks = self.ours.decode([embedding], [prompts], DecodeOptions(**options))[0]
        return masks

    def our_logits(self, embedding: Any, given: np.ndarray) -> Any:
        """N×1×256×256 by our decoder, without what comes after."""
        from samovar_plugins.toolkit import group_prompts

        parts = self.ours.components
        (group,) = group_prompts(Prompts.from_boxes(given), parts.resize.scale(embedding.width, embedding.height))
        shared = parts.decoder.share(self.ours.tensors(embedding), None, many_prompts=len(given) > 1)
        tokens = parts.prompts.tokens(group).split(4 if self.options.device == "cpu" else len(given))
        wanted = {"multimask_output": False, "best_only": False}
        return self.torch.cat([parts.decoder(shared, part, **wanted).logits for part in tokens])


class Embedded:
    """A segmenter whose image has been encoded already."""

    def __init__(self, segmenter: Any, embedding: Any) -> None:
        self._segmenter, self._embedding = segmenter, embedding

    def __getattr__(self, name: str) -> Any:
        return getattr(self._segmenter, name)

    def encode(self, images: Sequence[Any]) -> list[Any]:
        """The embedding, for every image."""
        return [self._embedding for _ in images]
