"""The encoder, and how it is put together with SAM's prompt encoder and decoder."""

import torch
from torch.nn import functional

from samovar.fingerprint import fingerprint_arrays
from samovar_plugins.sam.decoder import SamDecoder
from samovar_plugins.sam.encoding import LongestSide
from samovar_plugins.sam.layers import State, gelu_
from samovar_plugins.sam.prompts import SamPromptEncoder
from samovar_plugins.sam.segmenter import Parts, SamSegmenter

SIDE = 256  # of the square that the encoder takes, in pixels


class ConvEncoder:
    frame = SIDE

    def __init__(self, state):
        self.layers = [state.linear(str(index)) for index in range(4)]

    def __call__(self, frames):
        x = frames
        for layer in self.layers:  # each halves rows and columns: the embedding has SIDE / 16 of them
            x = gelu_(functional.conv2d(x, layer.weight, layer.bias, stride=2, padding=1))
        return {"image": x}


def load(name, *, weights, device, dtype):
    tensors = torch.load(weights, weights_only=True)
    state = State(tensors, device, torch.float32)
    prompts = SamPromptEncoder(state.at("prompt_encoder"), SIDE)
    grid = (SIDE // 16, SIDE // 16)
    parts = Parts(
        encoder=ConvEncoder(state.at("image_encoder")),
        prompts=prompts,
        decoder=SamDecoder(state.at("mask_decoder"), prompts.position(grid), prompts.no_mask),
        frame=LongestSide(SIDE),
        grid=grid,
        dense=prompts.dense,
    )
    mark = f"{name}-{fingerprint_arrays(tensors)}-float32"  # never the path: other weights may lie there tomorrow
    return SamSegmenter(parts, fingerprint=mark, device=device, dtype=torch.float32)
