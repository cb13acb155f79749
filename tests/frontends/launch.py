"""Runs ComfyUI's `main.py` from the current folder without torchvision.

That ComfyUI imports it, and uses it for Stable Cascade alone; the build that fits a CPU's torch is not on PyPI.
"""

from __future__ import annotations

import runpy
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

if __name__ == "__main__":
    blank = ModuleType("torchvision")
    blank.__spec__ = ModuleSpec("torchvision", None)
    sys.modules["torchvision"] = blank
    sys.path.insert(0, "")
    runpy.run_path("main.py", run_name="__main__")
