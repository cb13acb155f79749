"""`samovar`: the group of commands, and what every error looks like to a person."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any, NoReturn

import click

from samovar import __version__
from samovar.errors import Cancelled, DeviceError, InputError, PluginError, SamovarError, UnknownNameError
from samovar.jit import before_compiling
from samovar.plugins import register_commands

__all__ = ["main"]

FAILED, USAGE, INTERRUPTED, UNREAD = 1, 2, 130, 141  # the last two as shells count SIGINT and SIGPIPE

_COMMANDS = {
    "segment": ("samovar.cli.segment:segment", "Masks for points, boxes, masks or words on one or more images."),
    "auto": ("samovar.cli.segment:auto", "Masks of every object in one or more images."),
    "run": ("samovar.cli.segment:run", "A pipeline over folders: prompts from a source, masks to sinks, with resume."),
    "cache": ("samovar.cli.cache:cache", "Warm, inspect, check and empty the embedding cache."),
    "models": ("samovar.cli.listing:models", "List the models."),
    "plugins": ("samovar.cli.listing:plugins", "List the plugins, or start a new one."),
    "doctor": (
        "samovar.cli.listing:doctor",
        "What is installed, which extras and devices work, and what to do about the rest.",
    ),
    "bench": ("samovar.cli.bench:bench", "Time a model on this machine."),
}


class Commands(click.Group):
    """Built-in commands are imported when they run; the short help of each stands here, so that `--help` is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Built-in commands in a useful order, then those of plugins."""
        register_commands(self, _COMMANDS)
        return [*_COMMANDS, *sorted(set(self.commands) - set(_COMMANDS))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A built-in command, else one that a plugin registered."""
        if cmd_name in _COMMANDS:
            module, _, attribute = _COMMANDS[cmd_name][0].partition(":")
            command: click.Command = getattr(import_module(module), attribute)
            return command
        register_commands(self, _COMMANDS)
        return self.commands.get(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the nearest commands named when there is none."""
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            known = self.list_commands(ctx)
            raise UnknownNameError.among("command", args[0], known, "see samovar --help")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """As click does, but a reader of our output that has gone (head, say) is not the status of a failed input."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # The descriptor must not be flushed again on the way out.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return UNREAD

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands with one line each, without importing the built-in ones."""
        rows = []
        for name in self.list_commands(ctx):
            if name in _COMMANDS:
                rows.append((name, _COMMANDS[name][1]))
            else:
                rows.append((name, self.commands[name].get_short_help_str(limit=80)))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="samovar")
@click.option("--debug", is_flag=True, envvar="SAMOVAR_DEBUG", help="Show tracebacks.")
def cli(debug: bool) -> None:
    """Promptable segmentation in the tools people already use.

    Exit status: 0 done, 1 some inputs failed (each named, the rest written), 2 usage.

    Shell completion: eval "$(_SAMOVAR_COMPLETE=bash_source samovar)" (or zsh_source, fish_source).
    """


def main(args: list[str] | None = None) -> NoReturn:
    """Run the command line and exit with its status."""
    before_compiling(_say_that_it_compiles)
    given: dict[str, Any] = {"args": args, "prog_name": "samovar", "standalone_mode": False}
    try:
        status = cli.main(**given)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        _exit(USAGE)
    except click.UsageError as error:
        _say(f"{error.format_message()}{_see_help(error)}")
        _exit(USAGE)
    except click.ClickException as error:
        _say(error.format_message())
        _exit(FAILED)
    except (click.Abort, KeyboardInterrupt):
        _say("stopped; what was written stays, and the same command (with --resume, if it has that) goes on from there")
        _exit(INTERRUPTED)
    except Cancelled as error:
        _say(str(error))
        _exit(INTERRUPTED)
    except SamovarError as error:
        if "--debug" in (args or sys.argv) or os.environ.get("SAMOVAR_DEBUG"):
            raise
        _say(str(error))
        _exit(USAGE if isinstance(error, (InputError, PluginError, DeviceError)) else FAILED)
    _exit(status if isinstance(status, int) else 0)


def _see_help(error: click.UsageError) -> str:
    return f" (see {error.ctx.command_path} --help)" if error.ctx is not None else ""


def _say_that_it_compiles() -> None:
    """Tell a person why the first run takes so long; as for progress, only on a terminal and without --quiet."""
    context = click.get_current_context(silent=True)
    if sys.stderr.isatty() and not (context is not None and context.params.get("quiet")):
        _say("compiling for this machine; only the first run waits for that")


def _say(message: str) -> None:
    click.echo(f"samovar: {message}", err=True)


def _exit(status: int) -> NoReturn:
    sys.exit(status)
