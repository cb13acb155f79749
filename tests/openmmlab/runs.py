"""The shipped config, turned to a small data set and run as MMDetection's tools/test.py runs it."""

from __future__ import annotations

import copy
import itertools
from importlib import resources
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from tests.openmmlab.dataset import CLASSES, CocoSet

__all__ = ["PAD", "PIPELINE", "SHIPPED", "configured", "evaluate", "predictions", "runner_of"]

SHIPPED = Path(str(resources.files("samovar_adapters.mmdet"))) / "configs" / "rtmdet_tiny_masks.py"

# RTMDet's pyramid wants sides that are multiples of 32.
PAD: dict[str, Any] = {"type": "Pad", "size": (320, 320), "pad_val": {"img": (114, 114, 114)}}

PIPELINE: list[dict[str, Any]] = [
    {"type": "LoadImageFromFile"},
    {"type": "LoadAnnotations", "with_bbox": True},
    {"type": "Resize", "scale": (320, 256), "keep_ratio": True},
    PAD,
    {
        "type": "PackDetInputs",
        "meta_keys": ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"),
    },
]

_numbers = itertools.count()


def configured(
    coco: CocoSet,
    work: Path,
    *,
    model: dict[str, Any] | None = None,
    hook: dict[str, Any] | None = None,
    metrics: tuple[str, ...] = ("bbox", "segm"),
    pipeline: list[dict[str, Any]] | None = None,
) -> Config:
    """The shipped config with this data.

    Args:
        model: in place of RTMDet with random weights.
        hook: settings of the mask hook; {} for the shipped ones with the default model, None for no hook at all.
    """
    config = Config.fromfile(SHIPPED)
    loader, evaluator = coco.loader(pipeline or PIPELINE), coco.evaluator(*metrics)
    changes: dict[str, Any] = {
        "work_dir": str(work),
        "test_dataloader": loader,
        "val_dataloader": loader,
        "test_evaluator": evaluator,
        "val_evaluator": evaluator,
        "model": model or {"backbone": {"init_cfg": None}, "bbox_head": {"num_classes": len(CLASSES)}},
        "experiment_name": f"run{next(_numbers)}",
        "log_level": "WARNING",
    }
    config.merge_from_dict(copy.deepcopy(changes))  # which takes the `_delete_` marks out
    hooks = config.custom_hooks
    config.custom_hooks = [] if hook is None else [{**hooks[0], "model": "default", **hook}]
    return config


def runner_of(config: Config) -> Runner:
    """A runner, as tools/test.py makes it."""
    return Runner.from_cfg(config)


def evaluate(config: Config) -> dict[str, float]:
    """The metrics of `Runner.test()`."""
    metrics: dict[str, float] = runner_of(config).test()
    return metrics


def predictions(config: Any) -> list[Any]:
    """What the evaluator is given, sample by sample."""
    runner = runner_of(config)
    seen: list[Any] = []

    class Listener:
        def process(self, data_samples: list[Any], data_batch: Any) -> None:
            seen.extend(data_samples)

        def evaluate(self, size: int) -> dict[str, float]:
            return {}

    runner.test_loop.evaluator = Listener()
    runner.test()
    return seen
