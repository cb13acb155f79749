"""Finding by name: aliases, near misses, and names that two plugins claim."""

from __future__ import annotations

import pytest

from samovar.errors import PluginError, UnknownNameError
from samovar.plugins import find_segmenter, list_segmenters, load_plugins, override_plugins
from tests.core.plugins.samples import Bringing, segmenter


def test_a_model_is_found_by_its_name_and_by_its_aliases() -> None:
    spec = segmenter("cups-large", aliases=("cups-l", "tea/Cups"))
    with override_plugins({"tea": Bringing(segmenter("cups-small"), spec)}):
        assert [find_segmenter(name) for name in ("cups-large", "cups-l", "tea/Cups")] == [spec] * 3


def test_an_unknown_name_gets_the_nearest_ones_and_what_to_do() -> None:
    with override_plugins({"tea": Bringing(segmenter("cups-small", aliases=("tea/cup",)), segmenter("spoons"))}):
        with pytest.raises(
            UnknownNameError, match=r"unknown model 'cup-small'; did you mean cups-small\?.*samovar models"
        ):
            find_segmenter("cup-small")
        with pytest.raises(UnknownNameError, match="did you mean tea/cup"):
            find_segmenter("tea/cupp")
        with pytest.raises(UnknownNameError, match="known: cups-small, spoons;"):
            find_segmenter("xyz")


def test_an_unknown_name_may_be_the_fault_of_a_broken_plugin() -> None:
    plugin = Bringing()
    plugin.specs = None  # type: ignore[assignment]
    with override_plugins({"tea": plugin}), pytest.raises(UnknownNameError, match="says what is wrong with tea"):
        find_segmenter("cups")


def test_models_are_listed_in_the_order_of_plugins_and_then_in_the_plugin_s_own() -> None:
    with override_plugins({"a": Bringing(segmenter("z"), segmenter("b")), "b": Bringing(segmenter("c"))}):
        assert [spec.name for spec in list_segmenters()] == ["z", "b", "c"]


def test_a_plugin_is_asked_once_however_often_models_are_listed() -> None:
    plugin, later = Bringing(segmenter()), Bringing(segmenter("spoons"))
    with override_plugins({"tea": plugin}) as manager:
        list_segmenters()
        list_segmenters()
        manager.register(later, "later")
        assert len(list_segmenters()) == 2
        find_segmenter("spoons")
    assert (plugin.asked, later.asked) == (1, 1)


@pytest.mark.parametrize(
    ("first", "second", "name"),
    [
        (segmenter("cups"), segmenter("cups"), "cups"),
        (segmenter("cups"), segmenter("mugs", aliases=("cups",)), "cups"),
        (segmenter("cups", aliases=("c",)), segmenter("mugs", aliases=("c",)), "c"),
    ],
    ids=["two names", "a name and an alias", "two aliases"],
)
def test_a_name_that_two_plugins_claim_is_an_error_that_names_both(first: object, second: object, name: str) -> None:
    with override_plugins({"tea": Bringing(first), "coffee": Bringing(second)}):  # type: ignore[arg-type]
        with pytest.raises(PluginError, match=f"model '{name}' is claimed by plugins 'tea' .* and 'coffee' ") as caught:
            find_segmenter(name)
        assert "SAMOVAR_BLOCK=tea or SAMOVAR_BLOCK=coffee" in str(caught.value)


def test_a_claimed_name_spoils_nothing_but_itself() -> None:
    tea = Bringing(segmenter("cups", aliases=("tea-cups",)), segmenter("spoons"))
    with override_plugins({"tea": tea, "coffee": Bringing(segmenter("cups"), segmenter("beans"))}):
        assert [spec.name for spec in list_segmenters()] == ["cups", "spoons", "cups", "beans"]
        assert find_segmenter("spoons").name == "spoons"
        assert find_segmenter("beans").name == "beans"
        assert find_segmenter("tea-cups") == tea.specs[0]
        infos = load_plugins().list_plugins()
        assert [(info.name, info.status) for info in infos] == [("coffee", "conflict"), ("tea", "conflict")]
        assert all("'tea'" in info.problems[0] and "'coffee'" in info.problems[0] for info in infos)


def test_blocking_one_of_two_claimants_frees_the_name() -> None:
    tea, coffee = Bringing(segmenter("cups")), Bringing(segmenter("cups", summary="The other"))
    with override_plugins({"tea": tea, "coffee": coffee}, blocked=["tea"]):
        assert find_segmenter("cups").summary == "The other"
        assert [(info.name, info.status) for info in load_plugins().list_plugins()] == [
            ("coffee", "ok"),
            ("tea", "blocked"),
        ]


def test_a_plugin_that_registers_a_name_twice_is_named_once() -> None:
    twice = Bringing(segmenter("cups"), segmenter("cups"))
    with (
        override_plugins({"tea": twice}),
        pytest.raises(PluginError, match="'cups' is registered twice by plugin 'tea'"),
    ):
        find_segmenter("cups")
