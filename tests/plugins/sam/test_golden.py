"""Ours against golden vectors from the published code of models that are no package (see tests/reference/golden.py)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import samovar
from samovar import Prompts
from samovar.protocols import DecodeOptions
from samovar_plugins.sam.plugin import MODELS
from tests.plugins.sam.golden_cases import FOLDER, SAMPLE, SIZES, cases
from tests.plugins.sam.structured import structured_weights

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.npz")))
def test_full_size_answers_are_those_of_the_published_code(name: str, tmp_path: Path) -> None:
    family = next(model.kind for model in MODELS if model.name == name)
    nested = structured_weights(family, SIZES[name])
    path = tmp_path / "weights.pt"
    torch.save({"model": nested} if family == "efficient-sam" else nested, path)
    ours = samovar.load(path, device="cpu", cache="off").segmenter
    compared = 0
    with np.load(FOLDER / f"{name}.npz") as golden:
        for number, (image, prompts) in enumerate(cases(masks=family != "efficient-sam")):
            assert golden[f"{number}.digest"] == image.digest
            (embedding,) = ours.encode([image])
            for multimask in (False, True):
                asked = Prompts.of(prompts)
                options = DecodeOptions(multimask=multimask, logits=True)
                masks = ours.decode([embedding], [asked], options)[0]
                assert masks.logits is not None
                # Where an outline is shallow, rounding moves it by many pixels; how many, a shifted threshold tells.
                shifted = (replace(options, mask_threshold=shift) for shift in (2e-4, -2e-4))
                least, most = (ours.decode([embedding], [asked], option)[0].areas for option in shifted)
                kept = {part: golden[f"{number}.{multimask}.{part}"] for part in ("logits", "ious", "areas")}
                for index, prompt in enumerate(prompts):
                    at = masks.prompt_index == index
                    mine = masks[at]
                    assert mine.logits is not None
                    ambiguous = prompt.points is not None and len(prompt.points) == 1 and len(prompt.kinds) == 1
                    if ambiguous and not multimask:
                        continue  # answered with the best of three, which the other round compares
                    order = np.argsort(-kept["ious"][index], kind="stable")
                    logits, ious = kept["logits"][index][order], kept["ious"][index][order]
                    np.testing.assert_allclose(mine.logits[:, ::SAMPLE, ::SAMPLE], logits, atol=1e-4, rtol=0)
                    np.testing.assert_allclose(mine.scores, ious, atol=1e-4, rtol=0)
                    areas = kept["areas"][index][order]
                    assert ((least[at] <= areas) & (areas <= most[at])).all()
                    compared += len(mine)
    assert compared >= 30
