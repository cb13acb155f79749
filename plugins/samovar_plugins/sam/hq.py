"""SAM-HQ's mask decoder: SAM's, plus one token whose mask is made of finer features of the encoder (2023).

The published decoder passes every prompt's 4h×4w×32 features through two 3×3 convolutions and multiplies the result by
the token's vector. The second convolution is linear, so it is multiplied by the vector first: one output channel
instead of 32. The encoder's own features are the same for all prompts of an image and are made once.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from samovar_plugins.toolkit import (
    MULTIMASK,
    Decoded,
    DecoderCore,
    Encoder,
    ImageState,
    Shared,
    StateDict,
    as_map,
    choose,
    gelu_,
    map_norm,
    relu_,
)

__all__ = ["HqDecoder", "HqEncoder"]


class HqEncoder:
    """SAM's encoder, with the fine features that SAM-HQ fuses from it: "image" B×C×h×w and "fine" B×C₂×4h×4w.

    Args:
        encoder: one that gives "image" and "early".
        state: the weights of the mask decoder, which is where the fusion is published.
    """

    def __init__(self, encoder: Encoder, state: StateDict) -> None:
        self.image_size = encoder.image_size
        self._encoder = encoder
        self._from_image = _Fusion(state.at("embedding_encoder"))
        self._from_early = _Fusion(state.at("compress_vit_feat"))

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """See `Encoder`."""
        found = self._encoder(images)
        return {"image": found["image"], "fine": self._from_image(found["image"]) + self._from_early(found["early"])}


class HqDecoder:
    """See `Decoder`: always one mask a prompt, the best of SAM's with the high-quality token's added to it.

    Args:
        state: the module's weights under SAM-HQ's names.
        position: L×C, the prompt encoder's encoding of the embedding's grid.
        no_mask: C, the dense prompt that stands for "no mask given".
    """

    def __init__(self, state: StateDict, position: Tensor, no_mask: Tensor) -> None:
        state = state.decoding()
        self._core = DecoderCore(state, position, no_mask, tokens=("iou_token", "mask_tokens", "hf_token"))
        self._finest = state.mlp("hf_mlp", relu_, outputs=self._core.upscale.channels)
        mixing = state.at("embedding_maskfeature")
        self._widen = mixing.linear("0")
        self._norm = mixing.norm("1", eps=1e-6)
        self._narrow = mixing.linear("3")

    def share(self, tensors: dict[str, Tensor], dense: Tensor | None, *, many_prompts: bool) -> Shared:
        """See `Decoder`. The embedding is "image", C×h×w, and "fine", C₂×4h×4w, which only the new token sees."""
        fine = tensors["fine"].to(self._core.dtype)
        return self._core.share(tensors["image"], dense, many_prompts=many_prompts, features=[fine])

    def __call__(self, shared: Shared, prompt: Tensor, *, multimask_output: bool, best_only: bool) -> Decoded:
        """See `Decoder`."""
        wanted = MULTIMASK if multimask_output else (0,)
        answers, images = self._core.attend(shared, prompt, [0, *(1 + mask for mask in wanted), 5])
        ious, masks = choose(self._core, answers[:, :-1], wanted, best_only=True)
        finest = self._finest(answers[:, -1])
        parts = zip(images, masks.chunk(len(images)), finest.chunk(len(images)))
        logits = torch.cat([self._draw(image, part, fine, shared) for image, part, fine in parts])
        return Decoded(logits.float(), ious.float())

    def _draw(self, image: ImageState, masks: Tensor, finest: Tensor, shared: Shared) -> Tensor:
        """N×1×4h×4w logits."""
        features = self._core.upscale.features(image.project(0, shared.size[0] * shared.size[1]))
        plain = as_map(torch.bmm(masks, features.transpose(1, 2)), shared.size)
        feature_map = as_map(features.transpose(1, 2), shared.size)
        mixed = functional.conv2d(feature_map, self._widen.weight, self._widen.bias, padding=1)
        mixed = gelu_(map_norm(mixed, self._norm).contiguous())
        count, channels = mixed.shape[:2]
        # Each prompt has a kernel of its own: its token's vector times the convolution's weights.
        kernels = (finest @ self._narrow.weight.flatten(1)).view(count, channels, 3, 3)
        drawn = functional.conv2d(mixed.flatten(0, 1)[None], kernels, padding=1, groups=count)[0]
        bias = 0 if self._narrow.bias is None else (finest @ self._narrow.bias)[:, None, None]
        drawn = drawn + bias + torch.tensordot(finest, shared.features[0], 1)
        return plain + drawn[:, None]


class _Fusion:
    """Two transposed convolutions with a normalisation and GELU between them: four times the rows and columns."""

    def __init__(self, state: StateDict) -> None:
        self._first, self._last = ((state.tensor(f"{at}.weight"), state.tensor(f"{at}.bias")) for at in (0, 3))
        self._norm = state.norm("1", eps=1e-6)

    def __call__(self, x: Tensor) -> Tensor:
        """N×C×h×w → N×C₂×4h×4w."""
        x = map_norm(functional.conv_transpose2d(x, *self._first, stride=2), self._norm)
        return functional.conv_transpose2d(gelu_(x.contiguous()), *self._last, stride=2)
