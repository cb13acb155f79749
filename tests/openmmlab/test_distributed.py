"""Evaluation in two processes, over gloo."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.openmmlab.dataset import CocoSet
from tests.openmmlab.runs import configured, evaluate
from tests.openmmlab.stub import stub_config


def test_two_processes_measure_what_one_does(coco: CocoSet, tmp_path: Path, repository: Path) -> None:
    """Each makes the masks of its half of the images, in a parallel wrapper around the detector."""
    expected = evaluate(configured(coco, tmp_path, model=stub_config(), hook={"score_thr": 0.0}))
    config = configured(coco, tmp_path, model=stub_config(), hook={"score_thr": 0.0})
    config.merge_from_dict(
        {
            "launcher": "pytorch",
            "env_cfg": {"dist_cfg": {"backend": "gloo"}},
            "model_wrapper_cfg": {"type": "MMDistributedDataParallel", "device_ids": None},  # no GPUs
        }
    )
    config.dump(str(tmp_path / "config.py"))
    script, out = repository / "tests" / "openmmlab" / "distributed.py", tmp_path / "metrics.json"
    launch = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    paths = os.pathsep.join(str(repository / part) for part in (".", "core", "plugins", "adapters"))
    done = subprocess.run(
        [*launch, str(script), str(tmp_path / "config.py"), str(out)],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    metrics = json.loads(out.read_text())
    assert metrics.pop("processes") == 2
    assert metrics == pytest.approx(expected, abs=1e-9)
