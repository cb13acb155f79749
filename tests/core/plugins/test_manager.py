"""Registering and calling plugins: what is broken in one stays with it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from samovar import hookimpl
from samovar.errors import PluginError
from samovar.plugins import (
    EvictEvent,
    PluginInfo,
    PluginManager,
    SegmenterSpec,
    fire_on_evict,
    identify_weights,
    list_prompt_sources,
    list_segmenters,
    load_plugins,
    override_plugins,
    register,
)
from tests.core.plugins.samples import Bringing, segmenter

EVENT = EvictEvent(tier="disk", key="ab", nbytes=7, reason="budget")


def plugin(**hooks: Any) -> SimpleNamespace:
    """A plugin with these functions as its hooks."""
    return SimpleNamespace(**{name: hookimpl(function) for name, function in hooks.items()})


def info(name: str) -> PluginInfo:
    """What `samovar plugins` shows of a plugin."""
    return next(info for info in load_plugins().list_plugins() if info.name == name)


def test_a_plugin_can_be_registered_from_code_and_forgotten_again() -> None:
    with override_plugins() as manager:
        register(Bringing(segmenter()), "tea")
        assert [spec.name for spec in list_segmenters()] == ["cups"]
        assert info("tea") == PluginInfo("tea", None, None, None, "ok", ("register_segmenters",), ())
        manager.unregister("tea")
        assert list_segmenters() == []
        assert manager.list_plugins() == []
        with pytest.raises(PluginError, match="no plugin 'tea'"):
            manager.unregister("tea")


def test_modules_classes_and_instances_are_plugins() -> None:
    class Hooks:
        @staticmethod
        @hookimpl
        def register_segmenters() -> list[Any]:
            return [segmenter("from-class")]

    instance = Bringing(segmenter("from-instance"))
    namespace = plugin(register_segmenters=lambda: [segmenter("from-functions")])
    with override_plugins({"class": Hooks, "instance": instance, "functions": namespace}):
        assert [spec.name for spec in list_segmenters()] == ["from-class", "from-instance", "from-functions"]


def test_an_isolated_block_ends_as_it_began_even_when_it_raises() -> None:
    before = load_plugins()
    inside = []

    def work() -> None:
        with override_plugins({"tea": Bringing()}):
            inside.append(load_plugins())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert inside[0] is not before
    assert load_plugins() is before


def refused(hooks: object, match: str) -> None:
    with override_plugins({"tea": Bringing(segmenter())}) as manager:
        with pytest.raises(PluginError, match=match) as caught:
            manager.register(hooks, "coffee")
        assert len(str(caught.value).splitlines()) == 1
        assert [info.name for info in manager.list_plugins()] == ["tea"]
        manager.register(Bringing(segmenter("beans")), "coffee")
        assert [spec.name for spec in list_segmenters()] == ["beans", "cups"]


def test_a_misspelt_hook_is_refused_with_the_nearest_one() -> None:
    hooks = plugin(register_segmenter=raises, register_segmenters=lambda: [segmenter("half")])
    refused(hooks, r"unknown hook register_segmenter; did you mean register_segmenters\?")


def test_a_hook_unlike_any_is_refused_with_all_of_them() -> None:
    refused(plugin(xyz=lambda: None), "unknown hook xyz; known: after_segment, identify_weights, on_evict")


def test_a_hook_of_a_later_version_may_be_marked_optional() -> None:
    hooks = SimpleNamespace(register_teapots=hookimpl(optionalhook=True)(raises))
    with override_plugins({"tea": hooks}):
        assert "implements no hook" in info("tea").problems[0]


def test_a_hook_with_arguments_that_there_are_not_is_refused() -> None:
    refused(plugin(register_segmenters=lambda colour: []), r"register_segmenters.*colour")


def test_a_hook_wrapper_is_refused() -> None:
    def around() -> Iterator[None]:
        yield

    refused(SimpleNamespace(register_segmenters=hookimpl(wrapper=True)(around)), "is a hook wrapper")


def test_a_name_is_registered_once_and_so_is_an_object() -> None:
    tea = Bringing()
    with override_plugins({"tea": tea}):
        with pytest.raises(PluginError, match="plugin name 'tea' is claimed"):
            register(Bringing(), "tea")
        with pytest.raises(PluginError, match="already registered"):
            register(tea, "other")
        with pytest.raises(PluginError, match="None"):
            register(None, "none")


def test_a_plugin_that_forgot_to_mark_its_hooks_is_told_so() -> None:
    def register_segmenters() -> list[Any]:
        return []

    with override_plugins({"tea": SimpleNamespace(register_segmenters=register_segmenters)}):
        assert info("tea").status == "broken"
        assert "@samovar.hookimpl" in info("tea").problems[0]


def raises() -> list[Any]:
    raise ValueError("no tea\nleft")


def leaves() -> list[Any]:
    raise SystemExit(3)


def half() -> Iterator[Any]:
    yield segmenter("first")
    raise ValueError("no more")


@pytest.mark.parametrize(
    ("hook", "reason"),
    [
        (raises, "register_segmenters: ValueError: no tea left"),
        (leaves, "register_segmenters: SystemExit: 3"),
        (half, "register_segmenters: ValueError: no more"),
        (lambda: None, "PluginError: expected an iterable of SegmenterSpec; got NoneType; return a list"),
        (lambda: "cups", "PluginError: expected an iterable of SegmenterSpec; got str; return a list"),
        (lambda: ["cups"], "PluginError: expected SegmenterSpec; got str: 'cups'"),
        (lambda: [segmenter(prompts=("smell",))], "must be some of points, box, mask, text, exemplar"),
    ],
)  # fmt: skip
def test_a_hook_that_fails_spoils_its_own_plugin_only(hook: Any, reason: str) -> None:
    good = Bringing(segmenter())
    with override_plugins({"first": plugin(register_segmenters=hook), "tea": good}):
        assert [spec.name for spec in list_segmenters()] == ["cups"]
        assert info("tea").status == "ok"
        assert info("first").status == "broken"
        (problem,) = info("first").problems
        assert reason in problem
        assert len(problem.splitlines()) == 1


def test_the_other_hooks_of_a_plugin_with_one_broken_hook_still_work() -> None:
    hooks = plugin(register_segmenters=raises, identify_weights=lambda path: "cups")
    with override_plugins({"tea": hooks}):
        assert list_segmenters() == []
        assert identify_weights("x.pth") == "cups"


def test_a_very_long_reason_is_cut_short() -> None:
    def long() -> list[Any]:
        raise ValueError("tea " * 1000)

    with override_plugins({"tea": plugin(register_segmenters=long)}):
        list_segmenters()
        assert len(info("tea").problems[0]) < 250


def test_the_first_plugin_that_knows_the_weights_wins() -> None:
    asked: list[str] = []

    def who(name: str | None) -> Any:
        def identify_weights(path: Path) -> str | None:
            asked.append(f"{name} {path.suffix}")
            return name

        return identify_weights

    hooks = {
        "unsure": plugin(identify_weights=who(None)),
        "sure": plugin(identify_weights=who("cups")),
        "late": plugin(identify_weights=who("mugs")),
    }
    with override_plugins(hooks):
        assert identify_weights("some.pth") == "cups"
    assert asked == ["None .pth", "cups .pth"]


def test_weights_that_nobody_knows_are_none() -> None:
    with override_plugins({"tea": Bringing()}):
        assert identify_weights("some.pth") is None


def test_a_plugin_that_fails_to_identify_weights_is_passed_over() -> None:
    hooks = {
        "raises": plugin(identify_weights=lambda path: 1 / 0),
        "wrong": plugin(identify_weights=lambda path: 3),
        "right": plugin(identify_weights=lambda path: "cups"),
    }
    with override_plugins(hooks):
        assert identify_weights("some.pth") == "cups"
        assert "division" in info("raises").problems[0]
        assert "expected the name of a model or None; got int: 3" in info("wrong").problems[0]


def test_an_event_reaches_every_plugin_whatever_one_of_them_does(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[EvictEvent] = []

    def keep(event: EvictEvent) -> None:
        seen.append(event)

    with override_plugins({"bad": plugin(on_evict=lambda event: 1 / 0), "good": plugin(on_evict=keep)}):
        with caplog.at_level(logging.WARNING):
            fire_on_evict(EVENT)
            fire_on_evict(EVENT)
        assert seen == [EVENT, EVENT]
        assert len(info("bad").problems) == 1
    assert len(caplog.records) == 1
    assert "plugin 'bad': on_evict: ZeroDivisionError: division by zero" in caplog.text


def test_threads_that_come_at_once_load_and_ask_each_plugin_once() -> None:
    plugins = {f"p{i}": Bringing(segmenter(f"m{i}")) for i in range(20)}
    barrier = threading.Barrier(8)
    with override_plugins(plugins), ThreadPoolExecutor(8) as pool:

        def work(_: int) -> list[str]:
            barrier.wait()
            return [spec.name for spec in list_segmenters()]

        answers = list(pool.map(work, range(8)))
    assert answers == [[f"m{i}" for i in range(20)]] * 8
    assert {bringing.asked for bringing in plugins.values()} == {1}


def test_a_plugin_may_ask_for_models_while_it_is_asked_for_its_own() -> None:
    class Nosy(Bringing):
        @hookimpl
        def register_segmenters(self) -> Any:
            names = [spec.name for spec in list_prompt_sources()]
            return [segmenter("nosy", summary=f"{len(names)} sources")]

    with override_plugins({"tea": Bringing(segmenter()), "nosy": Nosy()}):
        assert sorted(spec.name for spec in list_segmenters()) == ["cups", "nosy"]


def test_the_environment_blocks_and_traces(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("SAMOVAR_BLOCK", " coffee ,, default")
    monkeypatch.setenv("SAMOVAR_TRACE_PLUGINS", "1")
    manager = PluginManager.from_environment()
    manager.register(Bringing(segmenter()), "tea")
    manager.register(Bringing(segmenter()), "coffee")
    manager.register(plugin(register_segmenters=raises), "bad")
    assert [spec.name for spec in manager.list_specs(SegmenterSpec)] == ["cups"]
    assert {info.name: info.status for info in manager.list_plugins()} == {
        "bad": "broken",
        "coffee": "blocked",
        "tea": "ok",
    }
    traced = capsys.readouterr().err
    assert "samovar plugins: tea: register_segmenters: " in traced
    assert "samovar plugins: bad: register_segmenters: failed: ValueError" in traced
    assert "Traceback" in traced
    assert "no tea" in traced


@pytest.mark.parametrize("value", ["", "0"])
def test_without_the_variable_nothing_is_traced(
    value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SAMOVAR_TRACE_PLUGINS", value)
    manager = PluginManager.from_environment()
    manager.register(Bringing(segmenter()), "tea")
    manager.list_specs(SegmenterSpec)
    assert capsys.readouterr().err == ""
