"""``[tool.esrbench]`` of a ``pyproject.toml``: defaults of the options of all commands."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from esrbench.errors import UsageError, unknown_key

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

FILE_NAME: Final = "pyproject.toml"
TABLE: Final = "tool.esrbench"
COMMON: Final = ("device", "format", "results", "rule", "scale", "threads")
"""Options that may stand in the table itself; they hold for every command that has them."""
SECURITY: Final = frozenset({"isolation"})
"""Options that no file of a repository may set, because the repository may be a stranger's."""


def defaults_of(
    verb: str, parameters: Iterable[Any], paths: Collection[str], verbs: Iterable[str]
) -> tuple[dict[str, Any], str]:
    """Defaults of a command's options from the nearest ``pyproject.toml`` with a table.

    Paths are relative to the file.

    Args:
        verb: name of the command.
        parameters: parameters of the command.
        paths: names of the parameters that are paths.
        verbs: names of all commands.

    Returns:
        Values by name of the parameter; and a text that names the file and these options.

    Raises:
        UsageError: the file is not TOML, or has an unknown key or a value that no option takes.
    """
    file, table = _nearest()
    if file is None:
        return {}, ""
    options = {
        option.removeprefix("--"): each
        for each in parameters
        for option in each.opts
        if option.startswith("--")
    }
    commands = tuple(verbs)
    common = {key: value for key, value in table.items() if not isinstance(value, dict)}
    for key in table:
        name = _option(key)
        if name in SECURITY:
            raise _refused_security(file, TABLE, key)
        if key in common and name not in COMMON:
            raise _refused(file, unknown_key(TABLE, key, (*COMMON, *commands)))
        if key not in common and key not in commands:
            raise _refused(file, unknown_key(TABLE, key, commands))
    own = table.get(verb, {})
    where = f"{TABLE}.{verb}"
    for key in own:
        if _option(key) in SECURITY:
            raise _refused_security(file, where, key)
        if _option(key) not in options:
            raise _refused(file, unknown_key(where, key, sorted(options.keys() - SECURITY)))
    given = {key: (TABLE, common[key]) for key in common if _option(key) in options}
    given |= {key: (where, value) for key, value in own.items()}
    found = {}
    for key, (place, value) in given.items():
        option = options[_option(key)]
        found[option.name] = _value(file, f"{place}.{key}", option, value, paths)
    return found, f"defaults of {file}: {', '.join(given)}" if found else ""


def _option(key: str) -> str:
    return key.replace("_", "-")


def _nearest() -> tuple[Path | None, dict[str, Any]]:
    """The nearest file with a table, from the current folder up, and the table."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        file = folder / FILE_NAME
        try:
            content = file.read_bytes()
            if TABLE.encode() not in content:
                continue
            table = tomllib.loads(content.decode()).get("tool", {}).get("esrbench")
        except OSError:
            continue
        except (ValueError, AttributeError) as error:
            raise UsageError(
                f"{file}: not valid TOML: {error}", advice="Correct the file."
            ) from error
        if isinstance(table, dict):
            return file, table
    return None, {}


def _value(file: Path, where: str, option: Any, value: object, paths: Collection[str]) -> object:
    """A value as the option takes it."""
    several, flag = getattr(option, "multiple", False), getattr(option, "is_flag", False)
    values = value if isinstance(value, list) else [value]
    fitting = all(isinstance(each, bool) is flag for each in values)
    if not fitting or any(isinstance(each, dict | list) for each in values):
        wanted = "true or false" if flag else "a text or a number"
        raise _refused(file, f"{where}: expected {wanted}, not {value!r}")
    if isinstance(value, list) and not several:
        raise _refused(file, f"{where}: expected one value, not a list")
    if option.name in paths:
        if "" in values:
            raise _refused(file, f"{where}: expected a path, not an empty text")
        values = [str(file.parent / str(each)) for each in values]
    return values if several else values[0]


def _refused(file: Path, problem: str) -> UsageError:
    return UsageError(f"{file}: {problem}", advice=f"Correct [{TABLE}] in that file.")


def _refused_security(file: Path, where: str, key: str) -> UsageError:
    message = f"{file}: {where}.{key}: no file of a repository may choose the sandbox"
    return UsageError(message, advice=f"Remove it, and give --{_option(key)} on the command line.")


def origin_of(error: Exception) -> str:
    """The file that a refused value came from; empty if it came from elsewhere."""
    context, parameter = getattr(error, "ctx", None), getattr(error, "param", None)
    source = context.get_parameter_source(parameter.name) if context and parameter else None
    return f"[{TABLE}] of {FILE_NAME}: " if getattr(source, "name", "") == "DEFAULT_MAP" else ""
