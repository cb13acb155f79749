"""Whether two versions of Samovar write the same files: masks, annotation files, video tables and inpainted photos.

`python -m benchmarks.same_outputs OTHER` runs the same commands with this interpreter and with `OTHER`, the Python of
an environment in which another version is installed (`../before/.venv/bin/python`, say), on the shared photos and
videos. It compares what they wrote, and what they printed on standard output, byte by byte, and ends with status 1
where anything differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.protocol import data_root

ROOT = Path(__file__).resolve().parents[1]
ASSETS = ROOT / "docs" / "assets"


@dataclass(frozen=True)
class Job:
    """One command, as both versions run it; "{out}" in an argument is the folder that its version writes to."""

    name: str
    arguments: tuple[str, ...]


def boxes_as_coco(root: Path, step: int, target: Path) -> list[Path]:
    """Every `step`-th photo's true boxes as one COCO file; the photos."""
    index = json.loads((root / "masks" / "index.json").read_text())
    chosen = range(0, len(index["images"]), step)
    images = [
        {"id": i + 1, "file_name": Path(index["images"][i]["file"]).name, **_size(index["images"][i])} for i in chosen
    ]
    annotations: list[dict[str, object]] = []
    for record in index["masks"]:
        if record["image"] % step == 0:
            x1, y1, x2, y2 = record["box"]
            box = [x1, y1, x2 - x1, y2 - y1]
            place = {"image_id": record["image"] + 1, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
            annotations.append({"id": len(annotations) + 1, "category_id": 1, **place})
    document = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "thing"}]}
    target.write_text(json.dumps(document))
    return [root / "masks" / index["images"][i]["file"] for i in chosen]


def _size(record: dict[str, int]) -> dict[str, int]:
    return {"width": record["width"], "height": record["height"]}


def jobs(root: Path, scratch: Path, step: int) -> Iterator[Job]:
    """What is compared."""
    boxes = scratch / "boxes.json"
    photos = [str(photo) for photo in boxes_as_coco(root, step, boxes)]
    # Folders, whose images are called alike by all versions; what images given one by one are called has changed.
    many, few = scratch / "photos", scratch / "few"
    for folder, part in ((many, photos), (few, photos[:3])):
        folder.mkdir()
        for photo in part:
            shutil.copy(photo, folder)
    kept = {"coco": "coco.json", "png": "png", "npz": "npz", "labelme": "labelme", "yolo": "yolo", "polygons": "rings"}
    sinks = [part for name, path in kept.items() for part in ("--sink", f"{name}={{out}}/{path}")]
    yield Job("run, boxes", ("run", "--source", f"coco-boxes={boxes}", *sinks, str(many)))
    yield Job("auto", ("auto", "--format", "coco", "--out", "{out}/auto.json", str(few)))
    click = ("--point", "200,150", "--point", "20,20,0", "--multimask", "--json", "--format", "npz", "--out", "{out}")
    for photo in photos[:8]:
        yield Job(f"click {Path(photo).stem}", ("segment", photo, *click))
    portrait = ("segment", str(ASSETS / "portrait.jpg"), "--box", "155,12,305,190", "--box", "280,345,505,511")
    yield Job("overlay", (*portrait, "--format", "overlay", "--out", "{out}/masks.png"))
    photo = str(ASSETS / "photo.jpg")
    yield Job("inpaint", ("inpaint", "remove", photo, "--box", "190,225,268,315", "--out", "{out}/removed.png"))
    tables = ("--masks", "{out}/masks.json", "--mot", "{out}/boxes.txt")
    yield Job("track", ("track", str(ASSETS / "clip.mp4"), "--box", "104,2,272,198", *tables))
    for sequence in ("car-shadow", "goat")[: 1 if step > 20 else 2]:
        frames = str(root / "video" / sequence / "frames")
        mots = ("--masks", "{out}/mots.txt", "--mot", "{out}/mot.txt")
        yield Job(f"track {sequence}", ("track", frames, "--point", "427,240", *mots))


def written(python: str, job: Job, folder: Path) -> dict[str, str]:
    """Digests of what one version wrote, by path; standard output under "-"."""
    folder.mkdir(parents=True)
    arguments = [argument.replace("{out}", str(folder)) for argument in job.arguments]
    # Nothing of an earlier run, nor of the other version, may answer.
    command = [python, "-m", "samovar", *arguments, *(() if job.arguments[0] == "inpaint" else ("--cache", "off"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    if done.returncode:
        print(f"{python}: {job.name}: status {done.returncode}: {done.stderr.strip()[-300:]}")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    digests = {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    lines = [line.replace(str(folder), "") for line in done.stdout.splitlines()]
    digests["-"] = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return digests


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", help="the Python of an environment with the other version")
    parser.add_argument("--every", type=int, default=6, metavar="N", help="take every N-th photo (default 6)")
    parser.add_argument("--quick", action="store_true", help="a few photos and one video")
    given = parser.parse_args()
    same = differ = 0
    with tempfile.TemporaryDirectory() as scratch:
        for number, job in enumerate(jobs(data_root(), Path(scratch), 40 if given.quick else given.every)):
            ours = written(sys.executable, job, Path(scratch) / f"{number}-ours")
            theirs = written(given.other, job, Path(scratch) / f"{number}-theirs")
            unlike = sorted(path for path in ours | theirs if ours.get(path) != theirs.get(path))
            same += len(ours | theirs) - len(unlike)
            differ += len(unlike)
            tail = "" if not unlike else ": " + ", ".join(unlike[:6]) + (" …" if len(unlike) > 6 else "")
            print(f"{job.name:<28} {len(ours | theirs) - len(unlike):5} same {len(unlike):5} differ{tail}", flush=True)
    print(f"{same} outputs are the same, {differ} differ")
    return int(differ > 0)


if __name__ == "__main__":
    sys.exit(main())
