"""A labelling configuration: which images and videos there are, and which tags label them in which way."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from samovar.errors import ImageError, InputError

if TYPE_CHECKING:
    import xml.etree.ElementTree as ET

__all__ = ["KINDS", "Config", "Control", "ImageTag", "Kind", "Video", "parse", "value_of"]

Kind: TypeAlias = Literal["brush", "bitmask", "polygon", "rectangle", "ellipse", "keypoint"]
"""What a region is drawn as."""

KINDS: tuple[Kind, ...] = get_args(Kind)
_MOST_XML = 1 << 20
_MOST_REPEATS = 1000
_RATE = 24.0
_VARIABLE = re.compile(r"\$[\w\[\].{}]+")
_STEP = re.compile(r"[^.\[\]]+")


def value_of(expression: str, data: Mapping[str, Any]) -> Any:
    """What a tag's `value` stands for in a task's data, as the editor sees it; None where there is nothing.

    "$image", "$photo.url" and "$pages[0]" are values of any kind; in other text, "/data/upload/$name", they are put in.
    """
    if _VARIABLE.fullmatch(expression):
        return _at(expression, data)
    filled = _VARIABLE.sub(lambda found: str(_at(found[0], data) or ""), expression)
    return filled or None


def _at(path: str, data: Any) -> Any:
    if isinstance(data, Mapping) and path[1:] in data:
        return data[path[1:]]
    for step in _STEP.findall(path[1:]):
        if isinstance(data, Mapping):
            data = data.get(step)
        elif isinstance(data, list) and step.isdecimal():
            data = data[int(step)] if int(step) < len(data) else None
        else:
            return None
    return data


@dataclass(frozen=True)
class ImageTag:
    """An `Image` tag.

    Attributes:
        value: where its image's address is in a task's data; see `value_of`.
        pages: whether it shows a list of images (`valueList`), of which regions say which they are on (`item_index`).
    """

    value: str
    pages: bool = False

    def references(self, task: Mapping[str, Any]) -> list[str]:
        """The addresses of its images, in order. Raises ImageError where there is none."""
        data = task.get("data")
        found = value_of(self.value, data) if isinstance(data, Mapping) else None
        given = found if isinstance(found, list) else [found]
        addresses = [one for one in given if isinstance(one, str) and one]
        if not addresses or len(addresses) < len(given):
            where = self.value.lstrip("$")[:60]
            raise ImageError(f"task {task.get('id')}: expected an image in data.{where}; got {found!r:.60}")
        return addresses

    def reference(self, task: Mapping[str, Any], item: int = 0) -> str:
        """The address of one of its images. Raises ImageError."""
        found = self.references(task)
        if not 0 <= item < len(found):
            raise ImageError(f"task {task.get('id')}: expected one of {len(found)} images; got item_index {item}")
        return found[item]


@dataclass(frozen=True)
class Control:
    """A tag that labels regions of an image.

    Attributes:
        name: what results call it (`from_name`).
        to_name: the image it labels.
        kind: what it draws.
        type: of its results, such as "brushlabels".
        labels: that it offers, as results name them (by `alias`, where there is one); none for tags without labels.
        labelled_by: for tags without labels of their own, the `Labels` tag that names their regions; None for none.
        dynamic: where more labels are in a task's data; None for nowhere.
        smart: whether it asks the backend; None where the configuration leaves it at the editor's default, yes.
        rotates: for rectangles, whether they may be turned.
    """

    name: str
    to_name: str
    kind: Kind
    type: str
    labels: tuple[str, ...] = ()
    labelled_by: str | None = None
    dynamic: str | None = None
    smart: bool | None = None
    rotates: bool = True


@dataclass(frozen=True)
class Video:
    """A `Video` tag with a `VideoRectangle`.

    Attributes:
        value: where its address is in a task's data; see `value_of`.
        framerate: frames a second as the editor counts them, whatever the file has: a number, or `$key` of the data.
        boxes: the name of its `VideoRectangle` (`from_name`).
        labels: that its `Labels` offer.
    """

    value: str
    framerate: str
    boxes: str
    labels: tuple[str, ...]

    def reference(self, task: Mapping[str, Any]) -> str:
        """Its address. Raises ImageError."""
        return ImageTag(self.value).reference(task)

    def rate(self, task: Mapping[str, Any]) -> float:
        """Frames a second for this task: what the editor makes of `framerate`, 24 where that is no number."""
        given: Any = self.framerate
        if self.framerate.startswith("$"):
            given = value_of(self.framerate, task.get("data") or {})
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
        images: every `Image` tag, by name.
        controls: of images, in the order of the configuration.
        videos: every `Video` tag that has a `VideoRectangle`, by name.
        repeats: where in a task's data the lists are for whose entries `Repeater` tags repeat theirs.
        text: the configuration itself.
    """

    images: dict[str, ImageTag]
    controls: tuple[Control, ...]
    videos: dict[str, Video] = field(default_factory=dict)
    repeats: tuple[str, ...] = ()
    text: str = ""

    @property
    def smart(self) -> bool:
        """Whether any tag asks the backend, as all do that are not told otherwise."""
        return any(control.smart is not False for control in self.controls)

    def of_task(self, task: Mapping[str, Any]) -> Config:
        """The configuration as it is for one task: with what `Repeater` makes of its data, and the labels in it."""
        data = task.get("data")
        data = data if isinstance(data, Mapping) else {}
        config = self
        if self.repeats:
            lists = (value_of(one, data) for one in self.repeats)
            config = parse(
                self.text, tuple(min(len(one), _MOST_REPEATS) if isinstance(one, list) else 0 for one in lists)
            )
        if not any(control.dynamic for control in config.controls):
            return config
        return replace(config, controls=tuple(_with_labels(control, data) for control in config.controls))

    def control(
        self, to_name: str, label: str | None, kind: Kind | None = None, clicked: Collection[str] = ()
    ) -> Control:
        """The tag that an answer about the image `to_name` goes to.

        Of those of the wanted `kind` (of any, if there is none of it), in this order of weight: one that was not
        clicked with; that is not said to ask the backend; that draws areas, for a click is no answer to a click; that
        offers the label; that draws what is found and not a box around it; that comes first. A tag that is said not to
        ask (`smart="false"`) is there for answers, whatever it draws.

        Args:
            clicked: the names of the tags of the clicks that are answered.

        Raises:
            InputError: no tag labels regions of that image.
        """
        found = [control for control in self.controls if control.to_name == to_name]
        if not found:
            wanted = ", ".join(f"{name.title()}Labels" for name in KINDS)
            raise InputError(f"nothing in the labelling configuration labels {to_name!r}; add one of {wanted}")
        found = [control for control in found if control.kind == kind] or found

        def weight(one: Control) -> tuple[bool, ...]:
            may_ask = one.smart is not False
            point, around = one.kind == "keypoint" and may_ask, one.kind in ("rectangle", "ellipse") and may_ask
            unknown = label is not None and label not in one.labels
            return one.name in clicked, one.smart is True, point, unknown, around

        return min(found, key=weight)


@lru_cache(maxsize=256)
def parse(text: str, repeats: tuple[int, ...] = ()) -> Config:
    """Read a labelling configuration. Raises InputError.

    Args:
        repeats: how often each `Repeater` repeats its tags; without, they are read as they stand.
    """
    import xml.etree.ElementTree as ET  # every `samovar --help` reads this module

    if len(text) > _MOST_XML or "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InputError("a labelling configuration is XML of at most 1 MiB without a DOCTYPE; got something else")
    try:
        root = ET.fromstring(text)
    except (ET.ParseError, ValueError) as error:
        raise InputError(f"the labelling configuration is not valid XML: {error}; correct it in the project") from error
    for tag in root.iter():  # the editor does not mind how names are written
        tag.tag = str(tag.tag).lower()
        tag.attrib.update({key.lower(): value for key, value in tag.attrib.items()})
    if repeats:
        _repeat(root, iter(repeats))
    images = {}
    for tag in root.iter("image"):
        pages = tag.get("valuelist", "")
        if "$" in (pages or tag.get("value", "")):
            images[tag.get("name", "")] = ImageTag(pages or tag.get("value", ""), bool(pages))
    controls = [control for tag in root.iter() if (control := _control(tag, root)) is not None]
    videos = _videos(root)
    if not images and not videos:
        raise InputError(
            'the labelling configuration has no <Image name="…" value="$…"/>, and no <Video> with a <VideoRectangle>; '
            "Samovar answers for these"
        )
    lists = tuple(tag.get("on", "") for tag in root.iter("repeater"))
    return Config(images, tuple(one for one in controls if one.to_name in images), videos, lists, text)


def _repeat(parent: ET.Element, counts: Iterator[int]) -> None:
    """Put the tags inside each `Repeater` in its place, as often as there are entries, with the number of each."""
    for tag in list(parent):
        if tag.tag != "repeater":
            _repeat(tag, counts)
            continue
        flag = tag.get("indexflag", "{{idx}}")
        copies = []
        for number in range(next(counts, 0)):
            for child in tag:
                copy = deepcopy(child)
                for one in copy.iter():
                    one.attrib.update({key: value.replace(flag, str(number)) for key, value in one.attrib.items()})
                copies.append(copy)
        place = list(parent).index(tag)
        parent[place : place + 1] = copies


def _videos(root: ET.Element) -> dict[str, Video]:
    boxes = {tag.get("toname", ""): tag.get("name", "") for tag in root.iter("videorectangle")}
    labels: dict[str, tuple[str, ...]] = {}
    for tag in root.iter("labels"):
        labels.setdefault(tag.get("toname", ""), _labels(tag))
    found = {}
    for tag in root.iter("video"):
        name, value = tag.get("name", ""), tag.get("value", "")
        if "$" in value and boxes.get(name):
            found[name] = Video(value, tag.get("framerate", ""), boxes[name], labels.get(name, ()))
    return found


def _control(tag: ET.Element, root: ET.Element) -> Control | None:
    drawn, name, to_name = str(tag.tag), tag.get("name", ""), tag.get("toname", "")
    kind = drawn.removesuffix("labels")
    if kind not in KINDS or not name:
        return None
    of, labelled_by = tag, None
    if kind == drawn:  # a tag without labels: those of a `Labels` tag beside it name its regions
        beside = next((one for one in root.iter("labels") if one.get("toname") == to_name and one.get("name")), None)
        if beside is not None:
            of, labelled_by = beside, beside.get("name")
    smart = tag.get("smart")
    return Control(
        name,
        to_name,
        kind,
        drawn,
        _labels(of),
        labelled_by,
        of.get("value") if "$" in of.get("value", "") else None,
        smart=None if smart is None else smart.lower() == "true",
        rotates=tag.get("canrotate", "true").lower() != "false",
    )


def _labels(tag: ET.Element) -> tuple[str, ...]:
    """What results call the labels inside a tag, however deep in it."""
    return tuple(one.get("alias") or one.get("value") or "" for one in tag.iter("label"))


def _with_labels(control: Control, data: Mapping[str, Any]) -> Control:
    """With the labels that a task's data has for it: names, or objects as `Label` tags, with others inside."""
    found: list[str] = []
    todo = [value_of(control.dynamic, data)] if control.dynamic else []
    while todo:
        one = todo.pop(0)
        if isinstance(one, list):
            todo[:0] = one
        elif isinstance(one, Mapping):
            found += [name for name in [one.get("alias") or one.get("value")] if isinstance(name, str) and name]
            todo[:0] = one["children"] if isinstance(one.get("children"), list) else []
        elif isinstance(one, str) and one:
            found.append(one)
    return replace(control, labels=(*control.labels, *found))
