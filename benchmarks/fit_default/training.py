"""Training of the small networks in `samovar_plugins.default.network`, with torch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

__all__ = ["Rows", "train"]

Loss = Callable[[torch.Tensor, NDArray[np.int64]], torch.Tensor]
Rows = NDArray[np.float32] | NDArray[np.float16]


class _Net(nn.Module):  # type: ignore[misc]
    def __init__(self, mean: torch.Tensor, scale: torch.Tensor, hidden: int) -> None:
        super().__init__()
        self.mean, self.scale = mean, scale
        self.layers = nn.Sequential(
            nn.Linear(len(mean), hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1)
        )

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.layers((rows - self.mean) * self.scale)[:, 0]
        return out

    def flat(self) -> NDArray[np.float32]:
        parts = [self.mean, self.scale]
        for layer in (self.layers[0], self.layers[2], self.layers[4]):
            parts += [layer.weight.detach().T.reshape(-1), layer.bias.detach()]
        return np.concatenate([part.numpy().ravel() for part in parts]).astype(np.float32)


def train(
    rows: Rows,
    batches: Callable[[np.random.Generator], list[NDArray[np.int64]]],
    loss: Loss,
    *,
    hidden: int,
    epochs: int,
    rate: float = 4e-3,
    decay: float = 0.02,
    seed: int = 0,
) -> NDArray[np.float32]:
    """Fit one network; returns it flat.

    Args:
        rows: r×d features (any float dtype).
        batches: for one epoch, the row indices of each batch.
        loss: of the outputs of one batch and its row indices.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    sample = rows[rng.choice(len(rows), min(len(rows), 200_000), replace=False)].astype(np.float32)
    mean, scale = sample.mean(axis=0), 1 / (sample.std(axis=0) + 1e-2)
    net = _Net(torch.tensor(mean), torch.tensor(scale), hidden)
    steps = len(batches(np.random.default_rng(seed))) * epochs
    optimiser = torch.optim.AdamW(net.layers.parameters(), rate / 4, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps + 1)
    for _ in range(epochs):
        for batch in batches(rng):
            value = loss(net(torch.tensor(rows[batch].astype(np.float32))), batch)
            optimiser.zero_grad()
            value.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
            schedule.step()
    return net.flat()
