"""Call a factory with its declared arguments, and with the scale if it takes one.

This runs in the process that imports the factory: for a submission, its worker.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import os
from typing import TYPE_CHECKING, Any, Final

from esrbench.errors import RegistrationError
from esrbench.plaintext import line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from collections.abc import Set as AbstractSet

    from esrbench.entries.descriptor import ModelDescriptor

SCALE_NAMES: Final = (
    "scale",
    "upscale",
    "upscale_factor",
    "upscaling_factor",
    "scale_factor",
    "sr_rate",
)
"""Usual names of the parameter for the scale in networks of this field."""
_SHOWN_CHARACTERS: Final = 300


def in_folder(descriptor: ModelDescriptor) -> contextlib.AbstractContextManager[None]:
    """Make the folder of a submission the working directory for a block.

    Constructors open files such as ``model_zoo/x.pth`` relative to it.
    """
    folder = descriptor.folder
    return contextlib.nullcontext() if folder is None else _working_in(folder)


@contextlib.contextmanager
def _working_in(folder: str) -> Iterator[None]:
    before = os.getcwd()  # noqa: PTH109 - as os.chdir takes it
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def arguments_of(
    descriptor: ModelDescriptor, factory: Callable[..., Any], scale: int
) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a factory, by position and by keyword.

    The scale is passed as ``scale_argument`` if there is one. Otherwise it is passed under the
    name of ``SCALE_NAMES`` that is a parameter of the factory. A factory without such a parameter
    that takes any keyword gets ``scale``. It is not passed if the declared arguments have one of
    these names, or if the factory has no such parameter and only one scale is declared. If the
    factory has several such parameters, the only one without a default is used; if all have
    defaults and only one scale is declared, all keep their defaults.

    Args:
        descriptor: declares arguments and scales.
        factory: a class or function; one without a signature is given ``scale``.
        scale: upscaling factor.

    Raises:
        RegistrationError: the factory does not accept the declared arguments, or the parameter for
            the scale cannot be determined.
    """
    declared = copy.deepcopy(descriptor.arguments)
    by_position = [] if isinstance(declared, dict) else declared
    by_name = copy.deepcopy(descriptor.options)
    if isinstance(declared, dict):
        by_name.update(declared)
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):  # written in C
        return by_position, {"scale": scale, **by_name}
    try:
        given = signature.bind_partial(*by_position, **by_name).arguments
    except TypeError as error:
        problem = f"its arguments do not fit: {line(str(error), _SHOWN_CHARACTERS)}"
        fields = f"arguments or {_keyword_field(descriptor)}"
        raise _unfit(descriptor, signature, problem, fields) from error
    name = _scale_name(descriptor, signature, {*given, *by_name})
    return by_position, by_name if name is None else {**by_name, name: scale}


def unfilled(
    descriptor: ModelDescriptor,
    factory: Callable[..., Any],
    by_position: list[Any],
    by_name: dict[str, Any],
) -> RegistrationError | None:
    """The error that explains why a factory could not be called.

    Call it only after the factory raised ``TypeError``: a decorated factory may fill in arguments
    that its signature requires.

    Args:
        descriptor: declares the arguments.
        factory: a class or function that raised ``TypeError`` when it was called.
        by_position: what it was given, and
        by_name: the rest.

    Returns:
        None if the arguments fit the signature, so that the error is another one.
    """
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):  # written in C
        return None
    try:
        signature.bind(*by_position, **by_name)
    except TypeError as error:
        problem = line(str(error), _SHOWN_CHARACTERS)
        fields = f"arguments, {_keyword_field(descriptor)} or scale_argument"
        return _unfit(descriptor, signature, problem, fields)
    return None


def _keyword_field(descriptor: ModelDescriptor) -> str:
    """The field of keyword arguments, as the author of the declaration knows it."""
    return "options" if descriptor.folder is None else "kwargs"


def _scale_name(
    descriptor: ModelDescriptor, signature: inspect.Signature, given: AbstractSet[str]
) -> str | None:
    """The keyword for the scale, or None if it is not passed."""
    parameters = signature.parameters.values()
    any_name = any(each.kind is each.VAR_KEYWORD for each in parameters)
    by_name = {
        each.name: each
        for each in parameters
        if each.kind in {each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY}
    }
    declared = descriptor.scale_argument
    if declared is not None:
        if declared in given:
            return None
        if declared in by_name or any_name:
            return declared
        problem = f"it has no parameter {declared!r}"
        raise _unfit(descriptor, signature, problem, "scale_argument")
    if given.isdisjoint(SCALE_NAMES):
        known = [name for name in SCALE_NAMES if name in by_name]
        required = [name for name in known if by_name[name].default is inspect.Parameter.empty]
        if not known and any_name:
            return "scale"
        if len(known) == 1 or len(required) == 1:
            return (required or known)[0]
        if required:
            problem = f"{', '.join(required)} may each be the scale"
            raise _unfit(descriptor, signature, problem, "scale_argument")
    if len(descriptor.scales) > 1:
        problem = (
            f"it has no parameter for the scale, but {len(descriptor.scales)} scales are declared"
        )
        raise _unfit(descriptor, signature, problem, "scale_argument")
    return None


def _unfit(
    descriptor: ModelDescriptor, signature: inspect.Signature, problem: str, field: str
) -> RegistrationError:
    """The error for a factory that cannot be called as declared."""
    message = f"{descriptor.name}: {descriptor.factory} cannot be called: {problem}"
    shown = line(str(signature), _SHOWN_CHARACTERS)
    where = "of its descriptor" if descriptor.folder is None else "under [model]"
    advice = f"Correct {field} {where}; the factory takes {shown}."
    return RegistrationError(message, advice=advice)
