"""Completion in the shell: commands, models, sources and formats by name, and files where files are meant."""

from __future__ import annotations

import pytest
from click.shell_completion import ShellComplete

from samovar.cli.main import cli


def completions(*words: str) -> set[tuple[str, str]]:
    """(type, value) of what may stand for the last of `words`."""
    complete = ShellComplete(cli, {}, "samovar", "_SAMOVAR_COMPLETE")
    return {(item.type, item.value) for item in complete.get_completions(list(words[:-1]), words[-1])}


def test_commands_of_plugins_complete_like_the_built_in_ones() -> None:
    assert completions("seg") == {("plain", "segment")}
    assert completions("inp") == {("plain", "inpaint")}


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("segment", "--model", "sam2.1-t"), "sam2.1-tiny"),
        (("segment", "--format", "labelme"), "labelme"),
        (("run", "--source", "coco-b"), "coco-boxes"),
        (("run", "--sink", "coc"), "coco"),
    ],
)
def test_what_is_registered_completes_by_name(words: tuple[str, ...], name: str) -> None:
    assert completions(*words) == {("plain", name)}


@pytest.mark.parametrize(
    "words",
    [
        ("segment", "pho"),
        ("auto", "pho"),
        ("run", "pho"),
        ("bench", "pho"),
        ("cache", "warm", "pho"),
        ("cache", "stats", "--cache", "pho"),
        ("inpaint", "remove", "pho"),
        ("track", "pho"),
        ("segment", "photo.jpg", "--out", "pho"),
        ("segment", "photo.jpg", "--prompts", "pho"),
        ("segment", "photo.jpg", "--weights", "pho"),
        ("segment", "photo.jpg", "--model", "./pho"),
    ],
    ids=" ".join,
)
def test_where_a_file_is_meant_the_shell_completes_files(words: tuple[str, ...]) -> None:
    assert completions(*words) == {("file", words[-1])}
