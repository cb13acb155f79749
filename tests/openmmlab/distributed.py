"""One process of a distributed evaluation: `torch.distributed.run … distributed.py CONFIG METRICS.json`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dist import get_rank, get_world_size
from mmengine.runner import Runner

import tests.openmmlab.conftest
import tests.openmmlab.stub  # noqa: F401  (registers the detector)


def main(config: str, out: str) -> None:
    """Evaluate; the first process writes the metrics."""
    torch.distributed.init_process_group("gloo")  # MMEngine's own way to start it wants a GPU, whatever the backend
    metrics = Runner.from_cfg(Config.fromfile(config)).test()
    if get_rank() == 0:
        Path(out).write_text(json.dumps({**metrics, "processes": get_world_size()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
