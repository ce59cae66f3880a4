"""What PyTorch's versions do differently; nothing else asks which one is there.

If a version lacks something, the oldest version that has it is named. This file needs no more than
Python 3.8 and PyTorch.
"""

from __future__ import annotations

import codecs
import re
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

VERSION: tuple[int, ...] = tuple(map(int, re.findall(r"\d+", torch.__version__)[:2]))
"""Of PyTorch: 2.13.0+cpu is (2, 13)."""


def reads_data_only() -> bool:
    """Whether ``torch.load(weights_only=True)`` runs nothing, as far as anybody knows.

    Earlier a file could run a program all the same: CVE-2025-32434 before 2.6, CVE-2026-24747
    before 2.10.
    """
    return VERSION >= (2, 10)


def has_flag(name: str) -> bool:
    """Whether there is a flag.

    2.7 brought fp16 accumulation, 2.9 ``fp32_precision``; earlier ones compute as if that were
    ``ieee`` unless ``allow_tf32`` or ``set_float32_matmul_precision`` says otherwise.

    Args:
        name: such as ``torch.backends.cudnn.conv.fp32_precision``.
    """
    try:
        attrgetter(name[len("torch.") :])(torch)
    except (AttributeError, AssertionError):  # the latter before 2.0
        return False
    except RuntimeError:  # both interfaces to the precision of float32 contradict each other
        return True
    return True


@contextmanager
def allowed_in_files(classes: Sequence[type]) -> Iterator[None]:
    """Let ``torch.load(weights_only=True)`` make these classes in this block, by their own names.

    2.5 brought a context for it, and reads bytes without being told; 2.4 can add what a file may
    call, and forget all of it.
    """
    names = torch.serialization
    if hasattr(names, "safe_globals"):
        with names.safe_globals([*classes]):
            yield
        return
    before = [*names.get_safe_globals()]
    names.add_safe_globals([*classes, codecs.encode])  # by which pickles make bytes
    try:
        yield
    finally:
        names.clear_safe_globals()
        names.add_safe_globals(before)


def autocast(kind: str) -> tuple[Callable[[], bool], Callable[[bool], None]]:
    """What tells whether autocast is on for a kind of device, and what switches it; 2.4."""
    if VERSION >= (2, 4):
        return partial(torch.is_autocast_enabled, kind), partial(torch.set_autocast_enabled, kind)
    if kind == "cpu":
        return torch.is_autocast_cpu_enabled, torch.set_autocast_cpu_enabled
    return torch.is_autocast_enabled, torch.set_autocast_enabled


def refuse_recompiling() -> None:
    """Have ``torch.compile`` fail, not fall back to eager, at a shape too many."""
    config = _compiler_config()
    # 2.6 gave it another name.
    for name in ("fail_on_recompile_limit_hit", "fail_on_cache_limit_hit"):
        if hasattr(config, name):
            setattr(config, name, True)
            return


def keep_denormals_when_compiling() -> None:
    """Have ``torch.compile`` make code that keeps denormals.

    2.7 stopped giving C++ compilers ``-ffast-math``, with which GCC before 13 makes code that has
    the whole process flush denormals once it is loaded. Earlier versions are given its parts.
    """
    if VERSION >= (2, 7):
        return
    # 2.4 brought the first, which gives a list; the other gives a text.
    for module, name in (
        ("cpp_builder", "_get_optimization_cflags"),
        ("codecache", "optimization_flags"),
    ):
        try:
            holder = import_module(f"torch._inductor.{module}")
        except ModuleNotFoundError:
            continue
        if hasattr(holder, name):
            setattr(holder, name, partial(_without_fast_math, getattr(holder, name)))


def compiler_cache() -> str:
    """Folder in which ``torch.compile`` keeps kernels and, from 2.6 on, graphs."""
    folder: str = import_module("torch._inductor.codecache").cache_dir()
    return folder


_FAST_MATH = (
    *("fno-math-errno", "fno-trapping-math", "funsafe-math-optimizations", "fno-signed-zeros"),
)
"""The options that ``-ffast-math`` stands for, without those that the compiler gets anyway."""


def _without_fast_math(flags: Callable[[], Any]) -> Any:
    """The flags of an inductor function; single options replace ``-ffast-math``."""
    given = flags()
    if isinstance(given, str):
        return given.replace("-ffast-math", " ".join(f"-{flag}" for flag in _FAST_MATH))
    return [part for flag in given for part in (_FAST_MATH if flag == "ffast-math" else (flag,))]


def _compiler_config() -> Any:
    """Settings of ``torch.compile``, which 2.7 made public; importing them takes 1.4 s."""
    return import_module("torch._dynamo").config


@contextmanager
def forced_eager() -> Iterator[None]:
    """Let ``torch.compile`` compile nothing in this block; compiled parts run as Python.

    2.6 brought a call for it; before, switching the compiler off may not reach all of them.
    """
    if hasattr(torch.compiler, "set_stance"):
        with torch.compiler.set_stance("force_eager"):
            yield
        return
    with _compiler_config().patch(disable=True):
        yield
