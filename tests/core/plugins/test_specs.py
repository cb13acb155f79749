"""Specs: cheap, frozen, and refused with one line when a field is wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from samovar.errors import PluginError
from samovar.plugins import PromptSourceSpec, SegmenterSpec, Spec
from samovar.types import KINDS
from tests.core.plugins.samples import cache_tier, inpainter, mask_sink, prompt_source, segmenter, tracker

MAKERS = [segmenter, prompt_source, mask_sink, cache_tier, tracker, inpainter]


def test_a_spec_says_everything_and_imports_nothing() -> None:
    spec = segmenter("cups-2.1", aliases=["owner/Cups_2"], extra="sam", parameters=3, devices=["cpu", "cuda"])
    assert spec.names == ("cups-2.1", "owner/Cups_2")
    assert spec.prompts == {"box"}
    assert isinstance(spec.prompts, frozenset)
    assert spec.devices == ("cpu", "cuda")
    assert spec == dataclasses.replace(spec)
    assert len({spec, dataclasses.replace(spec)}) == 1


@pytest.mark.parametrize("make", MAKERS)
def test_specs_are_frozen(make: Callable[[], Spec[Any]]) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        make().name = "other"


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("name", ["", "Cups", "a b", "-a", "a--b", "a=b", "a/b", "a,b", None, 3, "ü", "a\n"])
def test_a_name_that_cannot_be_typed_is_refused(make: Callable[..., Spec[Any]], name: Any) -> None:
    with pytest.raises(PluginError, match="lower-case letters and digits"):
        make(name)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(
    "target", ["", "cups", "cups.load", "cups:", ":load", "cups:load()", "cu ps:load", None, print]
)
def test_a_target_that_names_no_callable_is_refused(make: Callable[..., Spec[Any]], target: Any) -> None:
    with pytest.raises(PluginError, match=r'target must be "package\.module:callable"'):
        make(target=target)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(
    ("field", "value"),
    [("summary", ""), ("summary", "two\nlines"), ("summary", None), ("extra", ""), ("extra", "a b"), ("extra", "x[y")],
)
def test_other_common_fields_are_checked(make: Callable[..., Spec[Any]], field: str, value: Any) -> None:
    with pytest.raises(PluginError, match=f"{field} must be"):
        make(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompts", ()),
        ("prompts", "box"),
        ("prompts", ("scribble",)),
        ("prompts", None),
        ("prompts", (1,)),
        ("licence", ""),
        ("aliases", "cup"),
        ("aliases", ("cups",)),
        ("aliases", ("a", "a")),
        ("aliases", ("a/b/c",)),
        ("parameters", -1),
        ("parameters", True),
        ("parameters", 1.5),
        ("embedding_bytes", "4 MiB"),
        ("devices", ()),
        ("devices", ("tpu",)),
        ("devices", "cpu"),
    ],
)
def test_fields_of_a_segmenter_are_checked(field: str, value: Any) -> None:
    with pytest.raises(PluginError, match=rf"model 'cups': {field} must be .*; got") as caught:
        segmenter(**{field: value})
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [("produces", ()), ("produces", "box"), ("converts", "text"), ("converts", ("words",)), ("argument", "")],
)
def test_fields_of_a_prompt_source_are_checked(field: str, value: Any) -> None:
    with pytest.raises(PluginError, match=f"prompt source 'saucers': {field} must be"):
        prompt_source(**{field: value})


def test_a_prompt_source_need_not_convert_anything() -> None:
    assert prompt_source().converts == frozenset()


def test_the_old_words_for_what_a_source_produces_still_work_and_warn() -> None:
    with pytest.warns(DeprecationWarning, match="gives= is now produces="):
        spec = PromptSourceSpec("words", "cups:words", "Words", gives=("box",), converts=("text",))  # type: ignore[call-arg]
    with pytest.warns(DeprecationWarning, match="produces"):
        assert spec.gives == {"box"}
    with pytest.warns(DeprecationWarning, match="converts"):
        assert spec.lowers == {"text"}


@pytest.mark.parametrize("suffix", ["json", ".", "a.json", None, "/x"])
def test_a_suffix_starts_with_a_dot_or_is_empty(suffix: Any) -> None:
    with pytest.raises(PluginError, match="suffix must be"):
        mask_sink(suffix=suffix)


def test_only_a_folder_has_a_suffix_for_its_items() -> None:
    assert mask_sink(suffix="", item_suffix=".png").item_suffix == ".png"
    with pytest.raises(PluginError, match="item_suffix"):
        mask_sink(suffix=".json", item_suffix=".png")


@pytest.mark.parametrize(("field", "value"), [("options", "seed"), ("options", (1,)), ("argument", "")])
def test_fields_of_an_inpainter_are_checked(field: str, value: Any) -> None:
    with pytest.raises(PluginError, match=f"inpainter 'mean': {field} must be"):
        inpainter(**{field: value})


def test_specs_know_the_kinds_that_prompts_have() -> None:
    from samovar.prompts import KINDS as OF_PROMPTS

    assert OF_PROMPTS is KINDS
    assert SegmenterSpec("all", "a.b:c", KINDS, "All", "MIT").prompts == set(KINDS)
