"""Every hook has a signature, words, an example that works, a place in the reference, and a test."""

from __future__ import annotations

import inspect
import re
import textwrap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest

import samovar.plugins
from samovar import Fingerprint
from samovar.plugins import (
    CacheTierSpec,
    EvictEvent,
    InpainterSpec,
    MaskSinkSpec,
    PluginManager,
    PromptSourceSpec,
    SegmenterSpec,
    SegmentEvent,
    TrackerSpec,
    fire_after_segment,
    fire_on_evict,
    hookspecs,
    override_plugins,
)
from tests.core.plugins.installed import ROOT

HOOKS = PluginManager(installed=False).hooks
SEGMENTED = SegmentEvent(
    "cups", Fingerprint.of("cups 1"), images=5, prompts=9, masks=12, encoded=2, encode_seconds=1.5, decode_seconds=0.1
)
EVICTED = EvictEvent(tier="memory", key="ab12", nbytes=4096, reason="budget")


def example(hook: str) -> str:
    """The code block in the hook's documentation."""
    found = re.search(r"```python\n(.*?)```", inspect.getdoc(getattr(hookspecs, hook)) or "", re.DOTALL)
    assert found is not None, f"{hook} has no example"
    return textwrap.dedent(found[1])


def plugin_of(hook: str) -> SimpleNamespace:
    """The plugin that the example makes."""
    names: dict[str, Any] = {"samovar": samovar, **vars(samovar.plugins)}
    exec(compile(example(hook), f"<example of {hook}>", "exec"), names)
    return SimpleNamespace(**{hook: names[hook]})


def test_these_are_the_hooks() -> None:
    assert set(HOOKS) == {
        "register_segmenters",
        "register_prompt_sources",
        "register_mask_sinks",
        "register_cache_tiers",
        "register_trackers",
        "register_inpainters",
        "register_commands",
        "identify_weights",
        "after_segment",
        "on_evict",
    }


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_is_typed_and_described(hook: str) -> None:
    function = getattr(hookspecs, hook)
    signature = inspect.signature(function)
    assert signature.return_annotation is not inspect.Signature.empty
    assert all(parameter.annotation is not inspect.Parameter.empty for parameter in signature.parameters.values())
    summary = (inspect.getdoc(function) or "").partition("\n")[0]
    assert summary.endswith(".")


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_has_its_row_in_the_reference(hook: str) -> None:
    page = (ROOT / "docs" / "reference" / "plugins.md").read_text(encoding="utf-8")
    arguments = ", ".join(inspect.signature(getattr(hookspecs, hook)).parameters)
    assert f"| `{hook}({arguments})` |" in page
    assert "::: samovar.plugins.hookspecs" in page


@pytest.mark.parametrize("hook", HOOKS)
def test_the_example_of_a_hook_is_a_working_plugin(hook: str, capsys: pytest.CaptureFixture[str]) -> None:
    with override_plugins({"example": plugin_of(hook)}) as manager:
        call(hook, manager)
        (info,) = manager.list_plugins()
        assert (info.status, info.hooks, info.problems) == ("ok", (hook,), ())


def call(hook: str, manager: samovar.plugins.PluginManager) -> None:
    """Bring about what the hook is for, and see that the example answers."""
    if hook == "register_segmenters":
        assert [spec.name for spec in manager.list_specs(SegmenterSpec)] == ["threshold"]
    elif hook == "register_prompt_sources":
        assert [spec.name for spec in manager.list_specs(PromptSourceSpec)] == ["plates"]
    elif hook == "register_mask_sinks":
        assert [spec.name for spec in manager.list_specs(MaskSinkSpec)] == ["svg"]
    elif hook == "register_cache_tiers":
        assert [spec.name for spec in manager.list_specs(CacheTierSpec)] == ["redis"]
    elif hook == "register_trackers":
        assert [spec.name for spec in manager.list_specs(TrackerSpec)] == ["nearest"]
    elif hook == "register_inpainters":
        assert [spec.name for spec in manager.list_specs(InpainterSpec)] == ["mean"]
    elif hook == "register_commands":
        cli = click.Group("samovar")
        manager.register_commands(cli)
        assert list(cli.commands) == ["hello"]
    elif hook == "identify_weights":
        assert manager.identify_weights(Path("a.threshold")) == "threshold"
        assert manager.identify_weights(Path("a.pth")) is None
    elif hook == "after_segment":
        manager.after_segment(SEGMENTED)
    elif hook == "on_evict":
        manager.on_evict(EVICTED)
    else:
        pytest.fail(f"no test of {hook}")


def test_events_say_what_happened(capsys: pytest.CaptureFixture[str]) -> None:
    with override_plugins({"after": plugin_of("after_segment"), "evict": plugin_of("on_evict")}):
        fire_after_segment(SEGMENTED)
        fire_on_evict(EVICTED)
    assert capsys.readouterr().out.splitlines() == ["cups 12 0.1", "memory ab12 4096 budget"]


def test_images_that_were_not_encoded_came_from_a_cache() -> None:
    assert SEGMENTED.cached == 3


def test_a_hook_without_documentation_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hookspecs.on_evict, "__doc__", "An entry has left.")
    with pytest.raises(AssertionError, match="on_evict has no example"):
        example("on_evict")
