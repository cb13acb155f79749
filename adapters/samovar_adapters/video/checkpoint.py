"""What has been tracked so far, kept so that a killed run goes on instead of starting over.

A folder with two files. `masks.jsonl` gets a line a frame. `state.npz` is the tracker after some frame, replaced every
50 frames, whole or not at all. Going on, the frames up to that one get their masks from the lines, and tracking starts
behind it: a crash costs the tracking of at most 50 frames.
"""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from samovar.errors import InputError, SamovarError
from samovar.masks import Masks
from samovar.tracking import ResumableTracker, Snapshot
from samovar_adapters.formats import check_folder, write_whole
from samovar_adapters.video.outputs import GrowingFile

__all__ = ["EVERY", "Checkpoint", "from_line", "to_line"]

EVERY = 50  # frames


class Checkpoint:
    """One run's progress in a folder.

    Args:
        path: the folder, made if missing.
        job: what identifies the run: the video, the model and the prompts.

    Raises:
        InputError: the folder is that of another job.
    """

    def __init__(self, path: Path, job: dict[str, Any]) -> None:
        check_folder(path, "--checkpoint")
        self._state, self._lines = path / "state.npz", path / "masks.jsonl"
        self._job = json.dumps(job, sort_keys=True)
        self._snapshot = self._load()
        self.done = int(self._snapshot["frames"]) if self._snapshot else 0
        self._kept = self._read_back()
        self._file = GrowingFile(self._lines, go_on=True)

    def _load(self) -> dict[str, Any]:
        if not self._state.exists():
            return {}
        try:
            with np.load(self._state, allow_pickle=False) as file:
                snapshot = dict(file)
            job = str(snapshot["job"])
        except (OSError, ValueError, KeyError) as error:
            raise SamovarError(f"{self._state}: cannot be read ({error}); delete the folder to start over") from error
        if job != self._job:
            raise InputError(f"{self._state.parent} is the checkpoint of another run; name another folder or delete it")
        return snapshot

    def _read_back(self) -> list[str]:
        """The lines that the state vouches for; the rest of the file is cut off."""
        lines = self._lines.read_text("utf-8").splitlines(keepends=True)[: self.done] if self._lines.exists() else []
        if len(lines) < self.done:
            raise SamovarError(f"{self._lines}: expected {self.done} frames; got {len(lines)}; delete the folder")
        write_whole(self._lines, "".join(lines).encode())
        return lines

    def masks(self, number: int) -> Masks:
        """The masks of a frame before `done`."""
        return from_line(self._kept[number])

    def restore(self, tracker: ResumableTracker) -> None:
        """Bring the tracker to where it was after `done` frames."""
        own = ("job", "frames")
        tracker.restore({name: array for name, array in self._snapshot.items() if name not in own})
        self._snapshot, self._kept = {}, []

    def add(self, masks: Masks, tracker: ResumableTracker) -> None:
        """One more frame is tracked. Raises SamovarError when the disk takes no more."""
        self._file.write(to_line(masks))
        self.done += 1
        if self.done % EVERY == 0:
            self.save(tracker.snapshot())

    def save(self, snapshot: Snapshot) -> None:
        """Keep the tracker's state after the latest frame."""
        buffer = BytesIO()
        # Not compressed: half of it is the latest frame, and it is written while somebody waits.
        np.savez(buffer, job=np.array(self._job), frames=np.array(self.done), **snapshot)  # type: ignore[arg-type]
        write_whole(self._state, buffer.getvalue())

    def close(self) -> None:
        """Close the file of lines."""
        self._file.close()


def to_line(masks: Masks) -> str:
    """A frame's masks as one line of JSON, its end included, with ids, labels and scores."""
    line = {
        "width": masks.width,
        "height": masks.height,
        "ids": masks.ids,
        "labels": masks.labels,
        "scores": masks.scores.tolist(),
        "rle": masks.to_coco_rle(),
    }
    return json.dumps(line) + "\n"


def from_line(text: str) -> Masks:
    """The masks of such a line, as a tracker gives them: one of each object, in order."""
    line = json.loads(text)
    rows = [Masks.from_coco_rle([rle]) for rle in line["rle"]]
    masks = Masks.concat([Masks.empty(line["width"], line["height"]), *rows])
    return masks.replace(
        ids=line["ids"], labels=line["labels"], scores=line["scores"], prompt_index=np.arange(len(rows))
    )
