"""Never making the image as a prompt sees it changes nothing but the cost."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from samovar import Prompt, Prompts
from samovar.protocols import DecodeOptions
from samovar.testing.scenes import scene
from samovar_plugins.sam.plugin import build_sam
from samovar_plugins.sam2.decoder import build_sam2
from samovar_plugins.toolkit import Decoded, SamComponents, SamSegmenter, StateDict, group_prompts
from samovar_plugins.toolkit.low_rank import LowRankImageState
from samovar_plugins.toolkit.segmenter import MANY
from tests.plugins.sam.models import FAMILIES
from tests.plugins.sam.weights import Sizes, random_weights
from tests.plugins.sam2.weights import Sizes as Sizes2
from tests.plugins.sam2.weights import random_weights as random_weights2

BOXES = [Prompt(box=(8, 6, 50, 40)), Prompt(box=(20, 20, 60, 44)), Prompt(box=(2, 2, 12, 40))]
CLICKS = [Prompt(points=[(x, 20)]) for x in (8, 30, 55)]
SCRIBBLE = [Prompt(points=[(2 * x, x) for x in range(20)])]


def parts_of(family: str, dtype: torch.dtype = torch.float64) -> SamComponents:
    """A model of few positions and of the published number of channels."""
    with torch.inference_mode():
        if family == "sam2":
            sizes = Sizes2(channels=256)
            return build_sam2(sizes.layout, StateDict(random_weights2(sizes), dtype=dtype), sizes.frame)
        plain = Sizes(channels=256)
        return build_sam(family, StateDict(random_weights(family, plain), dtype=dtype), plain.frame)  # type: ignore[arg-type]


def decoded(parts: SamComponents, prompts: list[Prompt], *, many_prompts: bool) -> Decoded:
    with torch.inference_mode():
        picture = parts.resize.pixels(scene(64, 48))[None].double()
        tensors = {name: tensor[0] for name, tensor in parts.encoder(picture).items()}
        (group,) = group_prompts(Prompts.of(prompts), parts.resize.scale(64, 48))
        shared = parts.decoder.share(tensors, None, many_prompts=many_prompts)
        return parts.decoder(shared, parts.prompts.tokens(group), multimask_output=True, best_only=False)


@pytest.fixture
def low_rank(monkeypatch: pytest.MonkeyPatch) -> list[LowRankImageState]:
    """Those that were used."""
    used: list[LowRankImageState] = []
    plain = LowRankImageState.project

    def watch(seen: LowRankImageState, start: int, stop: int) -> torch.Tensor:
        used.append(seen)
        return plain(seen, start, stop)

    monkeypatch.setattr(LowRankImageState, "project", watch)
    return used


@pytest.mark.parametrize("prompts", [BOXES, CLICKS], ids=["boxes", "clicks"])
@pytest.mark.parametrize("family", [*FAMILIES, "sam2"])
def test_the_answers_are_those_of_the_image_that_is_made(
    family: str, prompts: list[Prompt], low_rank: list[LowRankImageState]
) -> None:
    parts = parts_of(family)
    made = decoded(parts, prompts, many_prompts=False)
    assert not low_rank
    never_made = decoded(parts, prompts, many_prompts=True)
    assert len(set(low_rank)) == len(prompts)
    assert made.logits.std() > 0.01
    torch.testing.assert_close(never_made.logits, made.logits, rtol=0, atol=1e-6)  # float32 in the end
    torch.testing.assert_close(never_made.ious, made.ious, rtol=0, atol=1e-6)


def test_a_prompt_of_many_tokens_has_the_image_made(low_rank: list[LowRankImageState]) -> None:
    parts = parts_of("sam")
    found = decoded(parts, SCRIBBLE, many_prompts=True)
    assert not low_rank
    torch.testing.assert_close(found.logits, decoded(parts, SCRIBBLE, many_prompts=False).logits, rtol=0, atol=1e-6)


def test_an_image_is_prepared_for_many_prompts_once_it_has_been_asked_many(low_rank: list[LowRankImageState]) -> None:
    with torch.inference_mode():
        sam = SamSegmenter(parts_of("sam", torch.float32), fingerprint="wide", device="cpu", dtype=torch.float32)
    (embedding,) = sam.encode([scene(64, 48)])

    def click() -> NDArray[np.float32]:
        (masks,) = sam.decode([embedding], [Prompts.of(CLICKS[:1])], DecodeOptions(logits=True))
        assert masks.logits is not None
        return masks.logits

    first = click()
    for _ in range(MANY - 2):
        click()
    assert not low_rank
    np.testing.assert_allclose(click(), first, rtol=0, atol=1e-4)
    assert low_rank
    low_rank.clear()
    sam.decode([embedding], [Prompts.of(BOXES * 3)], DecodeOptions())
    assert len(set(low_rank)) == 9
