"""Makes detector-masks.jpg from photo.jpg: what MMDetection's own visualiser draws of boxes, and of their masks.

The boxes stand for a detector's, whose weights are not for this repository to ship. Runs in `.nox/openmmlab`, which
`nox -s openmmlab` makes: `.nox/openmmlab/bin/python -m docs.assets.make_detector_masks`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.visualization import DetLocalVisualizer
from mmengine.structures import InstanceData
from PIL import Image as Pillow

import samovar
import tests.openmmlab.conftest  # noqa: F401  (lets MMDetection be imported beside a torch of today)
from samovar_adapters.mmdet import Masker

HERE = Path(__file__).parent
BOXES = [[75.0, 68.0, 484.0, 392.0], [160.0, 5.0, 418.0, 285.0], [322.0, 228.0, 408.0, 330.0]]


def main() -> None:
    image = samovar.Image(HERE / "photo.jpg")
    sample = DetDataSample(metainfo={"ori_shape": (image.height, image.width)})
    sample.pred_instances = InstanceData(
        bboxes=torch.tensor(BOXES), scores=torch.tensor([0.92, 0.88, 0.71]), labels=torch.arange(3)
    )
    visualizer = DetLocalVisualizer(alpha=0.5)
    visualizer.dataset_meta = {
        "classes": ("saucer", "cup", "spoon"),
        "palette": [(38, 130, 142), (220, 90, 60), (90, 60, 220)],
    }

    def drawn() -> np.ndarray:
        visualizer.add_datasample("photo", image.pixels, sample, draw_gt=False)
        return visualizer.get_image()

    panels = [drawn()]
    Masker(samovar.load("default", cache="off")).fill([sample], [image])
    panels.append(drawn())
    joined = Pillow.fromarray(np.concatenate(panels, axis=1))
    smaller = joined.resize((joined.width * 3 // 4, joined.height * 3 // 4), Pillow.Resampling.LANCZOS)
    smaller.save(HERE / "detector-masks.jpg", quality=88)


if __name__ == "__main__":
    main()
