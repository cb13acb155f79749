"""Seeded random weights of EdgeTAM under Meta's names, at any size, and a tiny model made of them."""

from __future__ import annotations

from functools import cache, partial

from torch import Tensor

from samovar_plugins.edge_tam.plugin import build_edge_tam
from samovar_plugins.toolkit import SamSegmenter, Shape, assemble
from tests.plugins.sam2.weights import head_shapes, structured

__all__ = ["PUBLISHED", "random_weights", "shapes", "tiny", "tiny_of"]

TOP = "image_encoder.trunk.body"
TINY = (8, (1, 1, 2, 1))
PUBLISHED = (48, (2, 2, 14, 2))


def shapes(size: tuple[int, tuple[int, ...]] = TINY, channels: int = 32, mlp: int = 64) -> dict[str, Shape]:
    """Name → shape of every tensor for images; `size` is the first stage's channels, and each stage's blocks."""
    width, blocks = size
    found: dict[str, Shape] = {}
    _normed(found, f"{TOP}.stem.conv1", (width // 2, 3, 3, 3))
    _normed(found, f"{TOP}.stem.conv2", (width, width // 2, 3, 3))
    for stage, count in enumerate(blocks):
        outputs = width << stage
        if stage:
            inputs, down = outputs // 2, f"{TOP}.stages_{stage}.downsample"
            _block(found, f"{down}.pre_block", inputs)
            _normed(found, f"{down}.spatial_downsample", (inputs, 1, 3, 3))
            _normed(found, f"{down}.channel_downsample", (outputs, inputs, 1, 1))
            _mixer(found, f"{down}.ffn", outputs)
        for index in range(count):
            _block(found, f"{TOP}.stages_{stage}.blocks.{index}", outputs)
            if index % 2 == 0:
                squeezed = max(8, (outputs // 4 + 4) // 8 * 8)
                for name, shape in (("fc1", (squeezed, outputs, 1, 1)), ("fc2", (outputs, squeezed, 1, 1))):
                    found[f"{TOP}.stages_{stage}.blocks.{index}.se.{name}.weight"] = shape
                    found[f"{TOP}.stages_{stage}.blocks.{index}.se.{name}.bias"] = shape[:1]
    return {**found, **head_shapes([width << stage for stage in (3, 2, 1, 0)], channels, mlp)}


def _block(found: dict[str, Shape], name: str, width: int) -> None:
    _normed(found, f"{name}.token_mixer.conv", (width, 1, 3, 3))
    _normed(found, f"{name}.token_mixer.conv1", (width, 1, 1, 1))
    _mixer(found, f"{name}.channel_mixer", width)


def _mixer(found: dict[str, Shape], name: str, width: int) -> None:
    _normed(found, f"{name}.conv1", (2 * width, width, 1, 1))
    _normed(found, f"{name}.conv2", (width, 2 * width, 1, 1))


def _normed(found: dict[str, Shape], name: str, shape: Shape) -> None:
    found[f"{name}.c.weight"] = shape
    for leaf in ("weight", "bias", "running_mean", "running_var"):
        found[f"{name}.bn.{leaf}"] = shape[:1]
    found[f"{name}.bn.num_batches_tracked"] = ()


def random_weights(
    size: tuple[int, tuple[int, ...]] = TINY, channels: int = 32, mlp: int = 64, seed: int = 0
) -> dict[str, Tensor]:
    """Weights whose masks have structure."""
    return structured(shapes(size, channels, mlp), seed)


def tiny_of(weights: dict[str, Tensor], image_size: int = 64) -> SamSegmenter:
    """A segmenter of such weights, of that size."""
    made = assemble("edge-tam", partial(build_edge_tam, image_size=image_size), weights)
    assert isinstance(made, SamSegmenter)
    return made


@cache
def tiny() -> SamSegmenter:
    """A segmenter with random weights."""
    return tiny_of(random_weights())
