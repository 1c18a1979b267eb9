"""Machine code of small loops, made by numba once and loaded without it from then on.

numba takes half a second and 130 MiB, of which running a compiled loop needs nothing: its machine code is a function
like any other. So a process of its own makes it, it is kept on disk, and LLVM alone (llvmlite, on which numba stands)
loads it. The function is called the way numba calls its own: a pointer for what it returns, one for an exception, then
the arguments, an array as (no owner, no parent, items, bytes of an item, data, items, bytes from one to the next).
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FUNCTION = re.compile(r"^define[^@\n]* i32 @(?P<name>[\w.$]+)\(ptr", re.MULTILINE)
UNUSED = re.compile(r"^declare void @NRT_MemInfo_call_dtor\(ptr\).*$", re.MULTILINE)
"""Frees an array's owner; arrays are passed without one."""
OUTSIDE = re.compile(r"^declare [^@\n]*@(?!llvm\.)", re.MULTILINE)

MAKE = """
import importlib, json, pathlib, sys
sys.path[:] = json.loads(sys.argv[1])
getattr(importlib.import_module(sys.argv[2]), sys.argv[3]).make(pathlib.Path(sys.argv[4]))
"""
MAKE_S = 120

Native = Callable[..., tuple[int, ...]]


class UnfitError(Exception):
    """A loop's code is not such that it can be loaded alone."""


def native(function: Any, parameters: tuple[Any, ...], returns: int) -> Native:
    """A loop that can be called without numba.

    Args:
        function: the loop, as Python.
        parameters: what it takes: a dtype for an array, contiguous and of one dimension; ``int`` for an integer.
        returns: how many integers it returns, as a tuple when there are several.

    Raises:
        UnfitError, OSError, RuntimeError, SubprocessError: it cannot be had; numba's own way is left.
    """
    path = _folder() / f"{function.__name__}-{_fingerprint(function, parameters, returns)}.o"
    if not path.exists():
        words = [json.dumps(sys.path), function.__module__, function.__name__, str(path)]
        done = subprocess.run([sys.executable, "-c", MAKE, *words], capture_output=True, timeout=MAKE_S)
        if done.returncode or not path.exists():
            raise UnfitError(done.stderr.decode(errors="replace"))
    return _load(path, parameters, returns)


def _fingerprint(function: Any, parameters: tuple[Any, ...], returns: int) -> str:
    """Of everything that the machine code follows from."""
    parts = [
        Path(function.__code__.co_filename).read_bytes(),
        repr((function.__qualname__, parameters, returns, sys.version, version("numba"), version("llvmlite"))).encode(),
        repr(_machine()).encode(),
    ]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:24]


def _folder() -> Path:
    """Beside this file, or where the user's caches are when that cannot be written."""
    beside = Path(__file__).parent / "__pycache__"
    with suppress(OSError):
        beside.mkdir(exist_ok=True)
    if os.access(beside, os.W_OK):
        return beside
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(caches) / "stream-ottt"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


@cache
def _machine() -> tuple[str, str, str]:
    """Triple, processor and its features."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.get_default_triple(), llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()


def _target() -> Any:
    import llvmlite.binding as llvm

    triple, cpu, features = _machine()
    return llvm.Target.from_triple(triple).create_target_machine(cpu=cpu, features=features, opt=3, jit=True)


def make(path: Path, function: Any, parameters: tuple[Any, ...], returns: int) -> None:
    """Compile with numba and write the machine code to ``path``. Raises UnfitError when it could not be loaded."""
    import llvmlite.binding as llvm
    import numba
    from numba import types

    arguments: list[Any] = []
    for kind in parameters:
        if kind is int:
            arguments.append(types.int64)
        else:
            item = numba.from_dtype(np.dtype(kind))
            aligned = not np.dtype(kind).names  # records are packed
            arguments.append(types.Array(item, 1, "C", readonly=False, aligned=aligned))
    numbers: Any = types.UniTuple
    result = (types.none, types.int64, numbers(types.int64, returns))[min(returns, 2)]
    options: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    compiled: Any = numba.njit(result(*arguments), **options)(function)
    (text,) = compiled.inspect_llvm().values()
    text = UNUSED.sub("define internal void @NRT_MemInfo_call_dtor(ptr %owner) {\n  ret void\n}", text)
    if OUTSIDE.search(text) or len(FUNCTION.findall(text)) != 1:
        raise UnfitError(function.__name__)
    module = llvm.parse_assembly(text)
    module.name = FUNCTION.findall(text)[0]
    own = path.with_suffix(f".{os.getpid()}")
    own.write_bytes(len(module.name).to_bytes(4, "little") + module.name.encode() + _target().emit_object(module))
    own.replace(path)  # in one step, so that nobody finds half of it


def _load(path: Path, parameters: tuple[Any, ...], returns: int) -> Native:
    import llvmlite.binding as llvm

    data = path.read_bytes()
    size = 4 + int.from_bytes(data[:4], "little")
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target())
    engine.add_object_file(llvm.ObjectFileRef.from_data(data[size:]))
    engine.finalize_object()
    address = engine.get_function_address(data[4:size].decode())
    if not address:
        raise UnfitError(path.name)
    pointer, integer = ctypes.c_void_p, ctypes.c_int64
    array = (pointer, pointer, integer, integer, pointer, integer, integer)
    kinds = [kind for p in parameters for kind in ((integer,) if p is int else array)]
    code = ctypes.CFUNCTYPE(ctypes.c_int32, pointer, pointer, *kinds)(address)  # called without the GIL
    dtypes = [None if p is int else np.dtype(p) for p in parameters]

    def call(*arguments: Any) -> tuple[int, ...]:
        flat: list[Any] = []
        for argument, dtype in zip(arguments, dtypes, strict=True):
            flat += (argument,) if dtype is None else _flat(argument, dtype)
        results = (ctypes.c_int64 * max(returns, 1))()
        exception = ctypes.c_void_p()
        if code(ctypes.addressof(results), ctypes.addressof(exception), *flat):
            raise ValueError(f"{path.stem} failed")
        return tuple(results)

    call.engine = engine  # type: ignore[attr-defined]  # the code lives as long as it does
    return call


def _flat(array: npt.NDArray[Any], dtype: np.dtype[Any]) -> tuple[Any, ...]:
    if (array.dtype is not dtype and array.dtype != dtype) or array.ndim != 1 or not array.flags.c_contiguous:
        raise TypeError(f"expected a contiguous array [n] of {dtype}, not {array.dtype} {list(array.shape)}")
    n, size = len(array), dtype.itemsize
    return None, None, n, size, array.ctypes.data, n, size
