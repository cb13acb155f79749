"""`PluginManager`: asks plugins, once each, what they bring, and tells them what happened; and that of this process."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from samovar.deprecation import renamed_method
from samovar.errors import PluginError
from samovar.events import EvictEvent, SegmentEvent
from samovar.plugins.registry import PluginInfo, Registration, Registrations, Registry
from samovar.plugins.specs import (
    CacheTierSpec,
    InpainterSpec,
    MaskSinkSpec,
    PromptSourceSpec,
    SegmenterSpec,
    Spec,
    TrackerSpec,
)

if TYPE_CHECKING:
    import click
    import pluggy

S = TypeVar("S", bound=Spec[Any])

SPEC_TYPES: tuple[type[Spec[Any]], ...] = (
    SegmenterSpec,
    PromptSourceSpec,
    MaskSinkSpec,
    CacheTierSpec,
    TrackerSpec,
    InpainterSpec,
)


class PluginManager:
    """All plugins of one process; `samovar.load_plugins()` gives the one in use."""

    def __init__(self, *, blocked: Collection[str] = (), trace: bool = False, installed: bool = True) -> None:
        """With `installed=False` there are only the plugins that `register` is given."""
        self._registry = Registry(blocked=blocked, trace=trace, installed=installed)
        self._answers: dict[tuple[str, str], tuple[Any, ...]] = {}
        self._command_lines: list[CommandGroup] = []
        self._complained: set[tuple[str, str]] = set()

    @classmethod
    def from_environment(cls) -> PluginManager:
        """A manager that obeys SAMOVAR_BLOCK (names, comma separated) and SAMOVAR_TRACE_PLUGINS (1 to trace)."""
        names = (name.strip() for name in os.environ.get("SAMOVAR_BLOCK", "").split(","))
        trace = os.environ.get("SAMOVAR_TRACE_PLUGINS", "0") not in ("", "0")
        return cls(blocked=[name for name in names if name], trace=trace)

    def load_entry_points(self) -> None:
        """Import and register every installed plugin, once; what fails is recorded."""
        self._registry.search()

    def register(self, plugin: object, name: str) -> None:
        """Register `plugin` (a module, an instance or a class with hook functions) under `name`, from code.

        Raises:
            PluginError: the name is taken, or a hook is unknown, has wrong arguments, or is a wrapper.
        """
        with self._registry.lock:
            self._registry.register(plugin, name)
            for impl in self._registry.implementations("register_commands"):
                if impl.plugin_name == name:
                    for group in self._command_lines:
                        self._add_commands(impl, group)

    def unregister(self, name: str) -> None:
        """Forget the plugin of that name; commands that it added stay. Raises PluginError when there is none."""
        with self._registry.lock:
            self._registry.unregister(name)
            self._answers = {key: answer for key, answer in self._answers.items() if key[1] != name}

    @property
    def hooks(self) -> tuple[str, ...]:
        """The names of the hooks that there are."""
        return self._registry.hooks

    def list_plugins(self) -> list[PluginInfo]:
        """Every plugin by name, the broken and the blocked too, after asking each of them what it brings."""
        with self._registry.lock:
            conflicts: dict[str, list[str]] = {}
            for kind in SPEC_TYPES:
                for plugin, line in self.registrations(kind).conflicts():
                    conflicts.setdefault(plugin, []).append(line)
            infos = [state.info(conflicts.get(state.name, ())) for state in self._registry.states]
        return sorted(infos, key=lambda info: (info.name, info.module or ""))

    def broken(self) -> list[str]:
        """The names of plugins with problems known so far."""
        return sorted({state.name for state in self._registry.states if state.problems})

    # ------------------------------------------------------------------------------------------- discovering

    def list_specs(self, kind: type[S]) -> list[S]:
        """Every spec of one kind that plugins bring, in the order of the plugins' names."""
        return [one.spec for one in self.registrations(kind)]

    def registrations(self, kind: type[S]) -> Registrations[S]:
        """All specs of one kind, each with its plugin."""
        with self._registry.lock:
            found = [
                Registration(impl.plugin_name, self._registry.state(impl.plugin_name).origin, spec)
                for impl in self._registry.implementations(kind.hook)
                for spec in self._answer(impl, kind)
            ]
        return Registrations(kind.noun, found)

    def find(self, kind: type[S], name: str) -> S:
        """The spec of that name or alias.

        Raises:
            UnknownNameError: there is none.
            PluginError: two plugins claim it; names both.
        """
        listing = "samovar models" if kind.hook == SegmenterSpec.hook else "samovar plugins"
        registrations, broken = self.registrations(kind), self.broken()
        why = f"; `samovar plugins` says what is wrong with {', '.join(broken)}" if broken else ""
        return registrations.find(name, f"`{listing}` lists what is installed{why}")

    def _answer(self, impl: pluggy.HookImpl, kind: type[S]) -> tuple[S, ...]:
        """What one plugin registers; asked once, since a hook may be slow and must not be asked twice."""
        key = (kind.hook, impl.plugin_name)
        if key not in self._answers:
            self._answers[key] = self._registry.call(impl, kind.hook, lambda answer: _specs(kind, answer)) or ()
        return self._answers[key]

    def identify_weights(self, path: Path) -> str | None:
        """The name of the model whose weights `path` holds, from the first plugin that recognises it, or None."""
        for impl in self._registry.implementations("identify_weights"):
            name = self._registry.call(impl, "identify_weights", _name_or_none, path=path)
            if name is not None:
                return name
        return None

    # ------------------------------------------------------------------------------------------ command line

    def register_commands(self, cli: click.Group, taken: Iterable[str] = ()) -> None:
        """Put every plugin's commands on `cli`, once; those of plugins registered later follow by themselves.

        Args:
            cli: the command line.
            taken: names that no plugin may use, beyond those of the commands already on `cli`.
        """
        with self._registry.lock:
            if any(known.cli is cli for known in self._command_lines):
                return
            group = CommandGroup(cli, frozenset(taken))
            self._command_lines.append(group)
            for impl in self._registry.implementations("register_commands"):
                self._add_commands(impl, group)

    def _add_commands(self, impl: pluggy.HookImpl, group: CommandGroup) -> None:
        import click

        own = click.Group("samovar")
        if self._registry.call(impl, "register_commands", lambda _: True, cli=own):
            origins = {state.name: state.origin for state in self._registry.states}
            for plugin, line in group.merge(own.commands, impl.plugin_name, origins):
                self._registry.state(plugin).conflicts.append(line)

    # ------------------------------------------------------------------------------------------------ events

    def after_segment(self, event: SegmentEvent) -> None:
        """Tell every plugin that a call has answered its prompts."""
        self._tell("after_segment", event)

    def on_evict(self, event: EvictEvent) -> None:
        """Tell every plugin that an entry has left the cache."""
        self._tell("on_evict", event)

    def _tell(self, hook: str, event: object) -> None:
        for impl in self._registry.implementations(hook):
            if self._registry.call(impl, hook, lambda _: True, event=event) is None:
                self._complain(impl.plugin_name, hook)

    def _complain(self, plugin: str, hook: str) -> None:
        """Log the first failure of an event hook: in a server, say, nobody looks at `samovar plugins` meanwhile."""
        if (plugin, hook) not in self._complained:
            import logging

            self._complained.add((plugin, hook))
            reason = next((line for line in self._registry.state(plugin).problems if line.startswith(hook)), hook)
            logging.getLogger(__name__).warning(
                "plugin %r: %s; it is called on, and further failures are silent", plugin, reason
            )


def _specs(kind: type[S], answer: object) -> tuple[S, ...]:
    if isinstance(answer, str) or not isinstance(answer, Iterable):
        raise PluginError(f"expected an iterable of {kind.__name__}; got {type(answer).__name__}; return a list")
    specs = tuple(answer)
    for spec in specs:
        if not isinstance(spec, kind):
            raise PluginError(f"expected {kind.__name__}; got {type(spec).__name__}: {spec!r:.60}")
    return specs


def _name_or_none(answer: object) -> str | None:
    if answer is not None and not isinstance(answer, str):
        raise PluginError(f"expected the name of a model or None; got {type(answer).__name__}: {answer!r:.60}")
    return answer


# --------------------------------------------------------------------------------------------- command lines


class CommandGroup:
    """One command line, and the commands that plugins add to it.

    Each plugin fills an empty group of its own, which is then merged: a plugin that raises half-way adds nothing, a
    name that Samovar uses itself stays Samovar's, and a name that two plugins claim becomes a command that says so.
    """

    def __init__(self, cli: click.Group, taken: Collection[str]) -> None:
        self.cli = cli
        self._taken = frozenset(taken) | frozenset(cli.commands)
        self._owners: dict[str, str] = {}

    def merge(
        self, commands: Mapping[str, click.Command], plugin: str, origins: Mapping[str, str]
    ) -> Iterator[tuple[str, str]]:
        """Add `commands` of `plugin`; `origins` maps plugins to their packages.

        Gives (plugin, line) for every plugin concerned by a name that is not free.
        """
        for name, command in commands.items():
            if name in self._taken:
                yield plugin, f"command {name!r} is one of samovar's own; rename the plugin's"
            elif name in self._owners:
                other = self._owners[name]
                message = (
                    f"command {name!r} is claimed by plugins {other!r} ({origins[other]}) and {plugin!r} "
                    f"({origins[plugin]}); uninstall one of them or set SAMOVAR_BLOCK={other} or SAMOVAR_BLOCK={plugin}"
                )
                self.cli.add_command(_claimed_twice(name, message), name)
                yield from ((other, message), (plugin, message))
            else:
                self._owners[name] = plugin
                self.cli.add_command(command, name)


def _claimed_twice(name: str, message: str) -> click.Command:
    import click

    def refuse() -> None:
        raise PluginError(message)

    anything = {"ignore_unknown_options": True, "allow_extra_args": True}
    return click.Command(name, callback=refuse, short_help="Claimed by two plugins.", context_settings=anything)


# -------------------------------------------------------------------------------------------- of this process


class _Process:
    lock = threading.Lock()
    manager: PluginManager | None = None


def load_plugins() -> PluginManager:
    """The plugin manager of this process. The first call imports every installed plugin; none takes the host down."""
    with _Process.lock:
        if _Process.manager is None:
            _Process.manager = PluginManager.from_environment()
        manager = _Process.manager
    manager.load_entry_points()
    return manager


@contextmanager
def override_plugins(
    plugins: Mapping[str, object] | None = None, *, installed: bool = False, blocked: Collection[str] = ()
) -> Iterator[PluginManager]:
    """For tests: a process with only `plugins` (name → plugin) while the block runs, in every thread.

    With `installed=True` the installed plugins are there as well, except those named in `blocked`.

        with samovar.plugins.override_plugins({"mine": my_plugin}):
            assert [spec.name for spec in samovar.list_segmenters()] == ["mine"]
    """
    manager = PluginManager(blocked=blocked, installed=installed)
    manager.load_entry_points()
    for name, plugin in reversed(list((plugins or {}).items())):
        manager.register(plugin, name)  # hooks are called in the order of `plugins`, the last registered first
    with _Process.lock:
        before, _Process.manager = _Process.manager, manager
    try:
        yield manager
    finally:
        with _Process.lock:
            _Process.manager = before


isolated = renamed_method("isolated", override_plugins)


def register(plugin: object, name: str) -> None:
    """Register `plugin`, any object with functions marked `samovar.hookimpl`, in this process only.

    Raises:
        PluginError: the name is taken, or a hook is unknown, has wrong arguments, or is a wrapper.
    """
    load_plugins().register(plugin, name)


def identify_weights(path: str | os.PathLike[str]) -> str | None:
    """The name of the model whose weights the file or folder `path` holds, or None if no plugin recognises it."""
    return load_plugins().identify_weights(Path(path))


def register_commands(cli: click.Group, taken: Iterable[str] = ()) -> None:
    """Put every plugin's commands on `cli`, except under the names in `taken`."""
    load_plugins().register_commands(cli, taken)


def fire_after_segment(event: SegmentEvent) -> None:
    """Tell every plugin that a call has answered its prompts."""
    load_plugins().after_segment(event)


def fire_on_evict(event: EvictEvent) -> None:
    """Tell every plugin that an entry has left the cache."""
    load_plugins().on_evict(event)


def list_segmenters() -> list[SegmenterSpec]:
    """Every model that plugins bring, in the order of the plugins' names. Imports no model library."""
    return load_plugins().list_specs(SegmenterSpec)


def list_prompt_sources() -> list[PromptSourceSpec]:
    """Every prompt source that plugins bring."""
    return load_plugins().list_specs(PromptSourceSpec)


def list_mask_sinks() -> list[MaskSinkSpec]:
    """Every mask sink that plugins bring."""
    return load_plugins().list_specs(MaskSinkSpec)


def list_cache_tiers() -> list[CacheTierSpec]:
    """Every cache tier that plugins bring."""
    return load_plugins().list_specs(CacheTierSpec)


def list_trackers() -> list[TrackerSpec]:
    """Every tracker for any segmenter that plugins bring."""
    return load_plugins().list_specs(TrackerSpec)


def list_inpainters() -> list[InpainterSpec]:
    """Every inpainter that plugins bring."""
    return load_plugins().list_specs(InpainterSpec)


def find_segmenter(name: str) -> SegmenterSpec:
    """The model of that name or alias. Raises UnknownNameError, or PluginError when two plugins claim it."""
    return load_plugins().find(SegmenterSpec, name)


def find_prompt_source(name: str) -> PromptSourceSpec:
    """The prompt source of that name. Raises UnknownNameError, or PluginError when two plugins claim it."""
    return load_plugins().find(PromptSourceSpec, name)


def find_mask_sink(name: str) -> MaskSinkSpec:
    """The mask sink of that name. Raises UnknownNameError, or PluginError when two plugins claim it."""
    return load_plugins().find(MaskSinkSpec, name)


def find_cache_tier(name: str) -> CacheTierSpec:
    """The cache tier of that name. Raises UnknownNameError, or PluginError when two plugins claim it."""
    return load_plugins().find(CacheTierSpec, name)


def find_tracker(name: str) -> TrackerSpec:
    """The tracker for any segmenter of that name. Raises UnknownNameError, or PluginError when two plugins claim it."""
    return load_plugins().find(TrackerSpec, name)


def find_inpainter(name: str) -> InpainterSpec:
    """The inpainter of that name. Raises UnknownNameError, or PluginError when two plugins claim it."""
    return load_plugins().find(InpainterSpec, name)
