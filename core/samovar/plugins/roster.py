"""`Roster`: the plugins that there are. Finds them, imports them, registers them, and notes what is wrong with each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from difflib import get_close_matches
from typing import TYPE_CHECKING, TypeVar

import pluggy

from samovar.errors import PluginError
from samovar.plugins import hookspecs
from samovar.plugins.hookspecs import PROJECT
from samovar.plugins.records import Record
from samovar.plugins.trace import Tracer, one_line

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["BROKEN", "Roster"]

T = TypeVar("T")

BROKEN = (Exception, SystemExit)
"""What a plugin's code may raise without harm: one that exits the process is as broken as one that raises."""


class Roster:
    """Every plugin found or registered, found by entry point or registered from code.

    Hooks are called in the order of the plugins' names, after those of plugins that were registered from code.
    """

    def __init__(self, *, blocked: Collection[str], tracer: Tracer, installed: bool) -> None:
        self.lock = threading.RLock()
        self.records: list[Record] = []
        self._registered: dict[str, Record] = {}
        self._blocked = frozenset(blocked)
        self._tracer = tracer
        self._searching = self._searched = not installed
        self._pluggy = pluggy.PluginManager(PROJECT)
        self._pluggy.add_hookspecs(hookspecs)
        self.hooks = tuple(sorted(name for name in vars(self._pluggy.hook) if not name.startswith("_")))

    def search(self) -> None:
        """Import and register every installed plugin, once. What fails is recorded; other threads wait for the end."""
        if self._searched:
            return
        with self.lock:
            if self._searching:  # a plugin that asks for plugins while it is imported sees those registered so far
                return
            self._searching = True
            from samovar.plugins.discovery import discover

            found, torn = discover()
            self.records += torn
            # Sorted backwards, since pluggy calls last what was registered first.
            for entry in sorted(found, key=lambda entry: (entry.name, entry.value), reverse=True):
                self._load(entry)
            self._searched = True

    def _load(self, entry: EntryPoint) -> None:
        record = Record(entry.name, module=entry.value, source=entry.dist)
        self.records.append(record)
        if entry.name in self._blocked:
            record.blocked = True
            self._tracer.say(f"{entry.name}: blocked")
            return
        try:
            with self._tracer.step(f"{entry.name}: loaded from {entry.value}"):
                try:
                    plugin = entry.load()
                except BROKEN as error:
                    raise PluginError(f"import of {entry.value}: {one_line(error)}") from error
                self._attach(record, plugin)
        except PluginError as error:
            record.problems.append(str(error))

    def register(self, plugin: object, name: str) -> None:
        """Register `plugin` under `name`, from code; nothing happens if that name is blocked.

        Raises:
            PluginError: the name is taken, or a hook is unknown, has wrong arguments, or is a wrapper.
        """
        record = Record(name, blocked=name in self._blocked)
        with self.lock:
            if not record.blocked:
                self._attach(record, plugin)
            self.records.append(record)

    def _attach(self, record: Record, plugin: object) -> None:
        holder = self._registered.get(record.name)
        if holder is not None:
            claimants = f"by {holder.origin} and by {record.origin}"
            message = f"plugin name {record.name!r} is claimed {claimants}; uninstall or rename one of them"
            if record.source is not None:
                holder.conflicts.append(message)
            raise PluginError(message)
        if plugin is None or self._pluggy.is_registered(plugin):
            raise PluginError(f"plugin {record.name!r} is {'None' if plugin is None else 'already registered'}")
        try:
            self._pluggy.register(plugin, record.name)
            callers = self._pluggy.get_hookcallers(plugin) or []
            for caller in callers:
                self._check(caller, plugin)
        except BROKEN as error:
            self._pluggy.unregister(name=record.name)
            raise PluginError(" ".join(str(error).split())) from error
        record.hooks = tuple(sorted(caller.name for caller in callers if caller.has_spec()))
        if not record.hooks:
            record.problems.append("it implements no hook; mark its hook functions with @samovar.hookimpl")
        self._registered[record.name] = record

    def _check(self, caller: pluggy.HookCaller, plugin: object) -> None:
        for impl in caller.get_hookimpls():
            if impl.plugin is not plugin:
                continue
            if not caller.has_spec() and not impl.optionalhook:
                near = get_close_matches(caller.name, self.hooks, n=1)
                listing = f"did you mean {near[0]}?" if near else f"known: {', '.join(self.hooks)}"
                raise PluginError(f"unknown hook {caller.name}; {listing}")
            if impl.wrapper or impl.hookwrapper:
                raise PluginError(f"{caller.name} is a hook wrapper; each plugin is called on its own: return a value")

    def unregister(self, name: str) -> None:
        """Forget the plugin of that name. Raises PluginError when there is none."""
        with self.lock:
            if name not in self._registered:
                raise PluginError(f"no plugin {name!r} is registered; `samovar plugins` lists those that are")
            self._pluggy.unregister(name=name)
            self.records.remove(self._registered.pop(name))

    def implementations(self, hook: str) -> list[pluggy.HookImpl]:
        """Who implements `hook`, in the order of calling."""
        caller: pluggy.HookCaller = getattr(self._pluggy.hook, hook)
        return caller.get_hookimpls()[::-1]

    def record(self, plugin: str) -> Record:
        """The notes on a plugin; blank ones if it has been unregistered in the meantime."""
        return self._registered.get(plugin) or Record(plugin)

    def call(self, impl: pluggy.HookImpl, hook: str, accept: Callable[[object], T], **arguments: object) -> T | None:
        """What one plugin answers, as `accept` takes it; None, with the first failure recorded, where either raises."""
        try:
            with self._tracer.step(f"{impl.plugin_name}: {hook}"):
                return accept(impl.function(*(arguments[name] for name in impl.argnames)))
        except BROKEN as error:
            problems = self.record(impl.plugin_name).problems
            if not any(problem.startswith(f"{hook}: ") for problem in problems):
                problems.append(f"{hook}: {one_line(error)}")
            return None
