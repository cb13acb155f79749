"""A labelling configuration: which images and videos there are, and which tags label them in which way."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, TypeAlias, get_args

from samovar.errors import InputError

__all__ = ["KINDS", "Config", "Control", "Kind", "Video", "parse"]

Kind: TypeAlias = Literal["brush", "polygon", "rectangle", "ellipse", "keypoint"]
"""What a region is drawn as."""

KINDS: tuple[Kind, ...] = get_args(Kind)
_MOST_XML = 1 << 20
_RATE = 24.0


@dataclass(frozen=True)
class Control:
    """A tag that labels regions of an image.

    Attributes:
        name: what results call it (`from_name`).
        to_name: the image it labels.
        kind: what it draws.
        type: of its results, such as "brushlabels".
        labels: that it offers; none for tags without labels.
        smart: whether it asks the backend.
        rotates: for rectangles, whether they may be turned.
    """

    name: str
    to_name: str
    kind: Kind
    type: str
    labels: tuple[str, ...]
    smart: bool
    rotates: bool


@dataclass(frozen=True)
class Video:
    """A `Video` tag with a `VideoRectangle`.

    Attributes:
        key: of the task's data, which holds its address.
        framerate: frames a second as the editor counts them, whatever the file has: a number, or `$key` of the data.
        boxes: the name of its `VideoRectangle` (`from_name`).
        labels: that its `Labels` offer.
    """

    key: str
    framerate: str
    boxes: str
    labels: tuple[str, ...]

    def rate(self, task: Mapping[str, Any]) -> float:
        """Frames a second for this task: what the editor makes of `framerate`, 24 where that is no number."""
        given: Any = self.framerate
        if self.framerate.startswith("$"):
            given = (task.get("data") or {}).get(self.framerate[1:])
        try:
            rate = float(given)
        except (TypeError, ValueError, OverflowError):
            return _RATE
        if not 1e-3 <= rate <= 1e3:
            return _RATE
        return rate if rate >= 1 else 1 / rate  # seconds a frame


@dataclass(frozen=True)
class Config:
    """What matters of a labelling configuration.

    Attributes:
        images: the name of every `Image` tag → the key of the task's data that holds its picture.
        controls: of images, in the order of the configuration.
        videos: every `Video` tag that has a `VideoRectangle`, by name.
    """

    images: dict[str, str]
    controls: tuple[Control, ...]
    videos: dict[str, Video] = field(default_factory=dict)

    def control(self, to_name: str, label: str | None, kind: Kind | None = None) -> Control:
        """The tag that an answer about the image `to_name` goes to.

        Of those of the wanted `kind` (of any, if there is none of it): one that offers the label, that does not
        itself ask the backend, and that comes first; in this order of weight.

        Raises:
            InputError: no tag labels regions of that image.
        """
        found = [control for control in self.controls if control.to_name == to_name]
        if not found:
            wanted = ", ".join(f"{name.title()}Labels" for name in KINDS)
            raise InputError(f"nothing in the labelling configuration labels {to_name!r}; add one of {wanted}")
        found = [control for control in found if control.kind == kind] or found
        return min(found, key=lambda one: (label is not None and label not in one.labels, one.smart))


@lru_cache(maxsize=256)
def parse(text: str) -> Config:
    """Read a labelling configuration. Raises InputError."""
    if len(text) > _MOST_XML or "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InputError("a labelling configuration is XML of at most 1 MiB without a DOCTYPE; got something else")
    try:
        root = ET.fromstring(text)
    except (ET.ParseError, ValueError) as error:
        raise InputError(f"the labelling configuration is not valid XML: {error}; mend it in the project") from error
    images = {}
    controls = []
    for tag in root.iter():
        name = tag.get("name", "")
        value = tag.get("value") or tag.get("valueList") or ""
        if tag.tag == "Image" and value.startswith("$"):
            images[name] = value[1:]
        control = _control(tag, name)
        if control is not None:
            controls.append(control)
    videos = _videos(root)
    if not images and not videos:
        raise InputError(
            'the labelling configuration has no <Image name="…" value="$…"/>, and no <Video> with a <VideoRectangle>; '
            "Samovar answers for these"
        )
    return Config(images, tuple(control for control in controls if control.to_name in images), videos)


def _videos(root: ET.Element) -> dict[str, Video]:
    boxes = {tag.get("toName", ""): tag.get("name", "") for tag in root.iter("VideoRectangle")}
    labels: dict[str, tuple[str, ...]] = {}
    for tag in root.iter("Labels"):
        labels.setdefault(tag.get("toName", ""), tuple(child.get("value", "") for child in tag if child.tag == "Label"))
    found = {}
    for tag in root.iter("Video"):
        name, value = tag.get("name", ""), tag.get("value", "")
        if value.startswith("$") and boxes.get(name):
            # The editor does not mind how the attribute is written.
            rate = next((given for key, given in tag.items() if key.lower() == "framerate"), "")
            found[name] = Video(value[1:], rate, boxes[name], labels.get(name, ()))
    return found


def _control(tag: ET.Element, name: str) -> Control | None:
    drawn = str(tag.tag).lower()
    kind = drawn.removesuffix("labels")
    if kind not in KINDS or not name:
        return None
    labels = tuple(child.get("value", "") for child in tag if child.tag == "Label")
    return Control(
        name,
        tag.get("toName", ""),
        kind,
        drawn,
        labels,
        smart=tag.get("smart", "false").lower() == "true",
        rotates=tag.get("canRotate", "true").lower() != "false",
    )
