"""How many of Samovar's files one answer passes through, and how many a command loads.

`python -m benchmarks.files_crossed` prints, for a warm click with a box through `Runtime.segment`, the product files in
which some function ran; and for a cold `samovar segment … --format coco`, the product modules that were loaded and the
files in which some function ran. Fewer files are fewer to open for whoever follows a prompt to its mask.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PHOTO = ROOT / "docs" / "assets" / "portrait.jpg"

TRACER = """
import sys, threading
import importlib.util
roots = tuple(str(__import__("pathlib").Path(importlib.util.find_spec(name).origin).parent) for name in
    ("samovar", "samovar_plugins", "samovar_adapters"))
files = set()
def seen(frame, event, argument):
    if event == "call" and frame.f_code.co_name != "<module>" and frame.f_code.co_filename.startswith(roots):
        files.add(frame.f_code.co_filename)
"""

WARM = """
import samovar
sam = samovar.load("default")
prompts = [samovar.Prompt(box=(280, 345, 505, 511), label="helmet")]
for _ in range(2):
    sam.segment(PHOTO, prompts)
files.clear()
sys.setprofile(seen)
sam.segment(PHOTO, prompts)
sys.setprofile(None)
print(len(files))
"""

COLD = """
sys.setprofile(seen)
threading.setprofile(seen)
from samovar.cli.main import main
try:
    main(["segment", PHOTO, "--box", "280,345,505,511", "--format", "coco", "--out", OUT, "--quiet"])
except SystemExit as ended:
    assert not ended.code, ended.code
sys.setprofile(None)
ours = {name for name in sys.modules if name.partition(".")[0] in ("samovar", "samovar_plugins", "samovar_adapters")}
print(len(ours), len(files))
"""


def counted(program: str, folder: Path) -> list[int]:
    """The numbers that a new process prints."""
    places = f"PHOTO, OUT = {str(PHOTO)!r}, {str(folder / 'masks.json')!r}\n"
    command = [sys.executable, "-c", TRACER + places + program]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=folder)
    return [int(number) for number in done.stdout.split()]


def main() -> None:
    """Command line."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        (warm,) = counted(WARM, Path(folder))
        loaded, ran = counted(COLD, Path(folder))
    print(f"a warm click with a box, memory hit: {warm} files")
    print(f"a cold `samovar segment … --format coco`: {loaded} modules loaded, functions ran in {ran} files")


if __name__ == "__main__":
    main()
