"""Old names: they work, and say what to write instead."""

from __future__ import annotations

import warnings

import pytest

import samovar.prompts
from samovar.deprecation import renamed_keywords, renamed_method, renamed_names
from samovar.types import ObjectId


class Cup:
    def fill(self, level: int = 1) -> int:
        """How full."""
        return level

    pour = renamed_method("Cup.pour", fill)


@renamed_keywords(lump="sugar")
def tea(sugar: int = 0) -> int:
    return sugar


def test_an_old_name_of_a_module_gives_todays_object_and_blames_its_caller() -> None:
    with pytest.warns(DeprecationWarning, match=r"samovar\.prompts\.Ident is now samovar\.types\.ObjectId") as caught:
        assert samovar.prompts.Ident == ObjectId
    assert caught[0].filename == __file__
    found = renamed_names("here", {"old": "samovar.types.Kind"})
    with pytest.raises(AttributeError, match="module 'here' has no attribute 'other'"):
        found("other")


def test_an_old_method_and_an_old_keyword_are_passed_on() -> None:
    with pytest.warns(DeprecationWarning, match=r"Cup\.pour\(\) is now fill\(\)") as caught:
        assert Cup().pour(3) == 3
    assert caught[0].filename == __file__
    with pytest.warns(DeprecationWarning, match="lump= is now sugar=") as caught:
        assert tea(lump=2) == 2  # type: ignore[call-arg]
    assert caught[0].filename == __file__
    with pytest.raises(TypeError, match="got lump= and sugar="):
        tea(sugar=1, lump=2)  # type: ignore[call-arg]


def test_todays_names_do_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (Cup().fill(), tea(sugar=1)) == (1, 1)
