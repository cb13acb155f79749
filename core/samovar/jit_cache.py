"""Kernels read back from numba's disk cache without anything that only compiling needs.

A process that finds all its kernels compiled should not pay for a compiler. Numba's own way back first imports every
module that code could be generated with; then, for each kernel, it parses the bitcode that only the compilation of
another kernel could inline, and imports the modules of all library functions inside. Together that takes longer than
to segment an image. `LeanCache` links the machine code and does nothing else; bitcode is parsed once a kernel that is
being compiled asks for it. The files are numba's own, as is all that is written to them.

This reads classes and methods that numba keeps to itself, which a release may change. So it is only for the versions
that it was tried with (`samovar.jit.lean_cache_fits` says which); under any other, kernels are read back numba's way.
That takes 390 of 1150 ms more until the first mask of every command (`python -m benchmarks.start`), which is why this
file is kept.
"""

from __future__ import annotations

import functools
import pickle
import sys
from collections.abc import Iterable
from pathlib import Path
from types import FunctionType
from typing import Any

import llvmlite.binding as llvm
from numba.core import environment
from numba.core.caching import FunctionCache
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompileResult
from numba.core.runtime import _nrt_python as allocator

__all__ = ["LeanCache"]


class LeanCache(FunctionCache):  # type: ignore[misc]
    """Takes the place of the cache of one of numba's dispatchers.

    Numba notices that the file of a kernel has changed, not that the file of a kernel which it calls has, nor that of a
    constant. So what is kept here is known by all of them.

    Args:
        function: the kernel.
        files: all files that its machine code is made of.
        constants: what it has of values that may come from further files.
    """

    def __init__(self, function: FunctionType, files: Iterable[str], constants: Iterable[str]) -> None:
        super().__init__(function)
        others = [Path(file) for file in sorted(files) if file != function.__code__.co_filename]
        stamps = [(file.name, file.stat()) for file in others if file.is_file()]  # it is none inside an archive
        self._others = (*((name, stamp.st_mtime_ns, stamp.st_size) for name, stamp in stamps), *constants)

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        return (*super()._index_key(sig, codegen), *self._others)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The kernel compiled for these argument types, ready to be called; None if the cache does not have it."""
        _offer_allocator()
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)

    def _load_overload(self, sig: Any, target_context: Any) -> Any:
        if not self._enabled:
            return None
        key = self._index_key(sig, target_context.codegen())
        name = self._cache_file._load_index().get(key)
        if name is None:
            return None
        try:
            with Path(self._cache_file._data_path(name)).open("rb") as file:
                payload = _Unpickler(file).load()
        except OSError:  # removed, while the index still speaks of it
            return None
        return _rebuilt(target_context, *payload)


@functools.cache
def _offer_allocator() -> None:
    """Let machine code link numba's allocator. Numba does the same on its way to compile."""
    for name, address in allocator.c_helpers.items():
        llvm.add_symbol(name if name.startswith("_") else f"NRT_{name}", address)


class _Library(JITCodeLibrary):  # type: ignore[misc]
    """Machine code, with bitcode that is parsed when another library links it."""

    _shared_module: Any

    def link(self, machine_code: bytes, bitcode: bytes, names: set[str]) -> None:
        """Make the machine code callable; `names` are the functions in it that numba will ask for."""
        self._bitcode = bitcode
        self.enable_object_caching()
        self._set_compiled_object(machine_code)
        self._finalize_final_module()
        self._codegen._engine._defined_symbols |= names

    def _get_module_for_linking(self) -> Any:
        if self._shared_module is None:
            self._shared_module = llvm.parse_bitcode(self._bitcode)
            self._codegen._engine._load_defined_symbols(self._shared_module)
        return self._shared_module


def _rebuilt(
    target_context: Any,
    library_state: tuple[str, str, Any],
    fndesc: Any,
    env: Any,
    signature: Any,
    objectmode: bool,
    lifted: Any,
    annotation: str,
    reload_init: Any,
    referenced: Any,
) -> Any:
    """What `CompileResult._rebuild` makes of the same state, with a `_Library`."""
    for function in reload_init:
        function()
    name, kind, data = library_state
    codegen = target_context.codegen()
    if kind == "object":
        library = _Library(codegen, name)
        machine_code, bitcode = data
        library.link(machine_code, bitcode, {fndesc.llvm_func_name, fndesc.llvm_cpython_wrapper_name})
    else:
        library = codegen.unserialize_library(library_state)
    entry_point = target_context.get_executable(library, fndesc, env)
    for one in referenced:
        codegen.set_env(one.env_name, one)
    return CompileResult(
        typing_context=target_context.typing_context,
        target_context=target_context,
        entry_point=entry_point,
        typing_error=None,
        type_annotation=annotation,
        signature=signature,
        objectmode=objectmode,
        lifted=lifted,
        fndesc=fndesc,
        library=library,
        call_helper=None,
        environment=env,
        metadata=None,
        reload_init=reload_init,
        referenced_envs=referenced,
    )


class _Unpickler(pickle.Unpickler):
    """Leaves the modules of library functions alone."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("numba.core.environment", "_rebuild_env"):
            return _environment
        return super().find_class(module, name)


def _environment(module: str, constants: list[Any], name: str) -> Any:
    """What `numba.core.environment._rebuild_env` makes, without importing the module whose globals it would hold.

    Compiled code finds constants in it. Globals it would look up only to run as Python objects, which kernels never do.
    """
    if module in sys.modules or environment.lookup_environment(name) is not None:
        return environment._rebuild_env(module, constants, name)
    made = environment.Environment({"__name__": module})  # the name is what it is written to a cache by
    made.consts[:] = constants
    made.env_name = name
    environment.Environment._memo[name] = made
    return made
