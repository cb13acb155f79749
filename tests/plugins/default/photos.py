"""A photo with known masks, as the fixture `known` gives them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from samovar import Image
from samovar.embedding import Embedding


@dataclass(frozen=True)
class Known:
    """A photo, its embedding, and the true masks of some of its objects with their tight boxes."""

    image: Image
    embedding: Embedding
    truths: NDArray[np.bool_]
    boxes: NDArray[np.float32]
