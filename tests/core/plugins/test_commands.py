"""Commands that plugins add to the command line."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner

from samovar import hookimpl
from samovar.errors import PluginError
from samovar.plugins import load_plugins, override_plugins, register, register_commands

Adding = Callable[[click.Group], None]


def adding(*names: str, then: Exception | None = None) -> SimpleNamespace:
    """A plugin that adds commands which print their own names, and then perhaps raises."""

    @hookimpl
    def register_commands(cli: click.Group) -> None:
        for name in names:
            cli.command(name)(lambda name=name: click.echo(f"this is {name}"))
        if then is not None:
            raise then

    return SimpleNamespace(register_commands=register_commands)


@pytest.fixture
def cli() -> click.Group:
    """A command line with a command of its own."""
    group = click.Group("samovar")
    group.command("segment")(lambda: click.echo("the real one"))
    return group


def output(cli: click.Group, *arguments: str) -> str:
    return CliRunner().invoke(cli, arguments, catch_exceptions=False).output


def test_a_plugin_adds_commands(cli: click.Group) -> None:
    with override_plugins({"tea": adding("pour", "stir")}):
        register_commands(cli)
        assert output(cli, "pour") == "this is pour\n"
        assert {"segment", "pour", "stir"} == set(cli.commands)


def test_a_plugin_adds_its_commands_once_however_often_they_are_asked_for(cli: click.Group) -> None:
    with override_plugins({"tea": adding("pour")}):
        register_commands(cli)
        register_commands(cli)
        assert load_plugins().list_plugins()[0].status == "ok"


def test_the_hook_is_historic_a_plugin_registered_later_adds_its_commands_too(cli: click.Group) -> None:
    with override_plugins({"tea": adding("pour")}):
        register_commands(cli)
        register(adding("grind"), "coffee")
        assert output(cli, "grind") == "this is grind\n"


def test_a_plugin_that_raises_adds_nothing_and_is_shown(cli: click.Group) -> None:
    with override_plugins({"bad": adding("half", then=ValueError("no")), "tea": adding("pour")}):
        register_commands(cli)
        assert set(cli.commands) == {"segment", "pour"}
        broken = load_plugins().list_plugins()[0]
        assert (broken.name, broken.status, broken.problems) == (
            "bad",
            "broken",
            ("register_commands: ValueError: no",),
        )


@pytest.mark.parametrize("taken", [(), ("doctor",)], ids=["on the command line", "said to be taken"])
def test_samovar_s_own_commands_stay_its_own(cli: click.Group, taken: tuple[str, ...]) -> None:
    name = taken[0] if taken else "segment"
    with override_plugins({"tea": adding(name, "pour")}):
        register_commands(cli, taken)
        assert output(cli, "segment") == "the real one\n"
        assert set(cli.commands) == {"segment", "pour"}
        assert f"command '{name}' is one of samovar's own" in load_plugins().list_plugins()[0].problems[0]


def test_a_command_that_two_plugins_claim_says_so_when_it_is_called(cli: click.Group) -> None:
    with override_plugins({"tea": adding("pour", "steep"), "coffee": adding("pour", "grind")}):
        register_commands(cli)
        with pytest.raises(PluginError, match=r"command 'pour' is claimed by plugins 'tea' .* and 'coffee'"):
            output(cli, "pour", "--any", "thing")
        assert output(cli, "steep") == "this is steep\n"
        assert output(cli, "grind") == "this is grind\n"
        assert [info.status for info in load_plugins().list_plugins()] == ["conflict", "conflict"]


def test_a_command_that_three_plugins_claim_still_says_so(cli: click.Group) -> None:
    with override_plugins({name: adding("pour") for name in ("a", "b", "c")}):
        register_commands(cli)
        with pytest.raises(PluginError, match="claimed by plugins"):
            output(cli, "pour")


def test_the_real_command_line_shows_and_runs_a_plugin_s_command() -> None:
    from samovar.cli.main import cli as real

    with override_plugins({"tea": adding("pour", "segment")}):
        try:
            assert "pour" in output(real, "--help")
            assert output(real, "pour") == "this is pour\n"
            assert "Masks for points" in output(real, "--help")
        finally:
            real.commands.pop("pour", None)
