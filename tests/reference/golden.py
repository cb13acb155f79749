"""Golden vectors from published code that is no package: run where that code is checked out, and keep the result.

    python -m tests.reference.golden mobile-sam PATH/TO/MobileSAM
    python -m tests.reference.golden efficient-sam-ti PATH/TO/EfficientSAM

Weights are `structured_weights` of seed 0, the photo is the one that ships in the repository; what is kept is its
digest, a sample of the logits, the predicted IoUs and the masks' areas. tests/plugins/sam/test_golden.py compares.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from samovar import Image, Prompt
from tests.plugins.sam.golden_cases import FOLDER, SAMPLE, SIZES, cases
from tests.plugins.sam.structured import structured_weights

Answer = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]
"""Logits M×256×256, predicted IoUs M, areas M, of one prompt."""


def mobile_sam(model: Any, image: Image, prompts: list[Prompt], multimask: bool) -> list[Answer]:
    """By MobileSAM's predictor."""
    predictor = import_module("mobile_sam").SamPredictor(model)
    predictor.set_image(np.array(image.pixels))
    found = []
    for prompt in prompts:
        masks, ious, logits = predictor.predict(
            point_coords=prompt.points,
            point_labels=prompt.point_labels,
            box=prompt.box,
            mask_input=None if prompt.mask is None else np.asarray(prompt.mask)[None],
            multimask_output=multimask,
        )
        found.append((logits, ious, masks.sum(axis=(1, 2))))
    return found


def efficient_sam(model: Any, image: Image, prompts: list[Prompt], multimask: bool) -> list[Answer]:
    """By EfficientSAM's two calls, boxes as points of the labels 2 and 3."""
    height, width = image.height, image.width
    pixels = torch.from_numpy(np.array(image.pixels)).permute(2, 0, 1)[None].float() / 255
    embedding = model.get_image_embeddings(pixels)
    found = []
    for prompt in prompts:
        points = [] if prompt.points is None else [*prompt.points]
        labels = [] if prompt.point_labels is None else [*prompt.point_labels]
        if prompt.box is not None:
            points += [prompt.box[:2], prompt.box[2:]]
            labels += [2, 3]
        where = torch.tensor(np.array(points), dtype=torch.float32)[None, None]
        kinds = torch.tensor(np.array(labels), dtype=torch.float32)[None, None]
        logits, ious = model.predict_masks(embedding, where, kinds, multimask, height, width)
        enlarged = functional.interpolate(logits[0], (height, width), mode="bicubic")
        found.append((logits[0, 0].numpy(), ious[0, 0].numpy(), (enlarged[0] > 0).sum(dim=(1, 2)).numpy()))
    return found


def main() -> None:
    """Run one model's published code and keep what it answers."""
    name, folder = sys.argv[1:]
    sys.path.insert(0, str(Path(folder).resolve()))
    torch.set_grad_enabled(False)
    if name == "mobile-sam":
        model, answer = import_module("mobile_sam").sam_model_registry["vit_t"](), mobile_sam
        weights = structured_weights("mobile-sam", SIZES[name])
    else:
        build = import_module("efficient_sam.efficient_sam").build_efficient_sam
        model, answer = build(SIZES[name].width, SIZES[name].heads), efficient_sam
        weights = structured_weights("efficient-sam", SIZES[name])
    model.load_state_dict(weights, strict=True)
    model.eval()
    for module in model.modules():  # TinyViT keeps its attention biases in a buffer that only train() refreshes
        if hasattr(module, "attention_bias_idxs"):
            module.train(True)
            module.train(False)
    kept: dict[str, Any] = {}
    for number, (image, prompts) in enumerate(cases(masks=name == "mobile-sam")):
        kept[f"{number}.digest"] = image.digest
        for multimask in (False, True):
            answers = answer(model, image, prompts, multimask)
            for index, part in enumerate(("logits", "ious", "areas")):
                values = np.stack([np.asarray(found[index]) for found in answers])
                kept[f"{number}.{multimask}.{part}"] = values[..., ::SAMPLE, ::SAMPLE] if part == "logits" else values
    FOLDER.mkdir(exist_ok=True)
    np.savez_compressed(FOLDER / f"{name}.npz", **kept)
    print(f"{FOLDER / name}.npz: {sum(value.nbytes for value in kept.values() if hasattr(value, 'nbytes'))} bytes")


if __name__ == "__main__":
    main()
