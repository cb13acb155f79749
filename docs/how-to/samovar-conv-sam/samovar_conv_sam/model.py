"""The encoder, and how it is put together with SAM's prompt encoder and decoder."""

from torch.nn import functional

from samovar_plugins.toolkit import SamComponents, gelu_

SIDE = 256  # of the square that the encoder takes, in pixels


class ConvEncoder:
    image_size = SIDE

    def __init__(self, state):
        self.layers = [state.linear(str(index)) for index in range(4)]

    def __call__(self, images):
        x = images
        for layer in self.layers:  # each halves rows and columns: the embedding has SIDE / 16 of them
            x = gelu_(functional.conv2d(x, layer.weight, layer.bias, stride=2, padding=1))
        return {"image": x}


def build(weights):
    return SamComponents.around(ConvEncoder(weights.state.at("image_encoder")), weights.state)
