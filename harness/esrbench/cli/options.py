"""Option values as users write them."""

from __future__ import annotations

import inspect
from dataclasses import fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import typer

from esrbench.backends import backend_names, get_backend
from esrbench.engines.settings import EngineName
from esrbench.errors import UsageError
from esrbench.protocol import EAGER, PrecisionName
from esrbench.sandbox.tiers import isolation_choices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


ScaleOption = Annotated[int, typer.Option(help="Upscaling factor.")]


def scales_option(default: str) -> Any:
    """An option for several upscaling factors; ``default`` says in words what is used without."""
    return typer.Option(help="Upscaling factor. Repeatable.", show_default=default)


DeviceOption = Annotated[
    str, typer.Option(help="Device to run on: cpu, cuda, or cuda:N for GPU number N.")
]
DevicesOption = Annotated[
    str,
    typer.Option(
        "--device",
        help=(
            "Where forwards run: cpu, cuda, cuda:N for the GPU of that number, or cuda:0,1,3 or "
            "cuda:all for several, each with its own round of all networks at a time."
        ),
    ),
]
EngineOption = Annotated[
    EngineName | None,
    typer.Option(
        help="Where passes run: processes of this machine, Slurm jobs, or tasks of Ray.",
        show_default="this process",
    ),
]
EngineOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--engine-option", help="KEY=VALUE of the engine, such as partition=gpu. Repeatable."
    ),
]
ThreadsOption = Annotated[
    int | None, typer.Option(min=1, help="CPU threads.", show_default="all cores")
]
TimeoutOption = Annotated[
    float, typer.Option(min=1, help="Seconds that a worker may take to answer.")
]

PythonOption = Annotated[
    list[str] | None,
    typer.Option(
        help=(
            "NAME=PATH of an interpreter (Python 3.8 or newer, torch 1.13 or newer and numpy) that "
            "a network runs in, or NAME=ENVIRONMENT of `esrbench env`. NAME may be a pattern, such "
            "as 'team*'. Repeatable."
        ),
    ),
]

OwnPrecisionOption = Annotated[
    PrecisionName | None,
    typer.Option(help="Arithmetic of all forwards.", show_default="what each entry declares"),
]
CalibrateOption = Annotated[
    str | None,
    typer.Option(
        "--calibrate-with",
        help=(
            "For int8 and int8-w16: folders of HR images that are not scored, with commas: FOLDER, "
            "NAME=FOLDER, or NAME in $ESRBENCH_TRAINING_DATA."
        ),
    ),
]
EndsOption = Annotated[
    bool,
    typer.Option(
        "--fp32-ends", help="With int8 and int8-w16: first and last convolution stay in fp32."
    ),
]
ChannelsLastOption = Annotated[
    bool, typer.Option("--channels-last", help="Store weights and input channels-last in memory.")
]
CompileOption = Annotated[
    bool, typer.Option("--compile", help="Short for --backend torch-compile.")
]
BackendOption = Annotated[
    list[str] | None,
    typer.Option(
        "--backend",
        help=f"What runs forwards: {', '.join(backend_names())}. Repeatable.",
        show_default=EAGER,
    ),
]
CudnnBenchmarkOption = Annotated[
    bool, typer.Option("--cudnn-benchmark", help="Let cuDNN choose its fastest algorithms (CUDA).")
]

if TYPE_CHECKING:
    IsolationName = str
else:
    IsolationName = Literal[tuple(isolation_choices())]

IsolationOption = Annotated[
    IsolationName,
    typer.Option(
        help="Sandbox of networks: the strongest there is, or this one; official runs require "
        "bubblewrap.",
    ),
]

ClassOption = Annotated[
    str | None,
    typer.Option(
        "--class",
        help="Precision, layout and compilation, such as fp16.",
        show_default="of the newest record",
    ),
]
MetricOption = Annotated[
    list[str] | None,
    typer.Option(
        "--metric",
        help="Another image score, such as ssim_rgb or that of a plugin. Repeatable.",
        show_default="none",
    ),
]
ResultsOption = Annotated[
    Path | None,
    typer.Option(
        "--results", help="Folder of run records.", show_default="results", file_okay=False
    ),
]


def expand_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replace each parameter of a command that is a dataclass by options, one for each field.

    So commands that share options declare them once, and get them as one record. The parameter must
    be keyword-only, because its options have defaults.
    """
    hints = get_type_hints(command, include_extras=True)
    records: dict[str, Any] = {name: kind for name, kind in hints.items() if is_dataclass(kind)}
    signature = inspect.signature(command)
    parameters: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        if parameter.name in records:
            parameters += _options_of(records[parameter.name])
        else:
            parameters.append(parameter.replace(annotation=hints[parameter.name]))

    @wraps(command)
    def run(**values: Any) -> None:
        for name, record in records.items():
            values[name] = record(**{each.name: values.pop(each.name) for each in fields(record)})
        command(**values)

    # Typer reads the signature, ``get_type_hints`` the annotations.
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters} | {"return": None}
    return run


def _options_of(record: Any) -> Iterator[inspect.Parameter]:
    """The fields of a dataclass as keyword-only parameters."""
    hints = get_type_hints(record, include_extras=True)
    for each in fields(record):
        yield inspect.Parameter(
            each.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=each.default,
            annotation=hints[each.name],
        )


def parse_size(text: str, option: str = "--input-size") -> tuple[int, int]:
    """Read ``HxW`` in LR pixels from the value of an option; a single number is a square.

    Raises:
        UsageError: the text has another form.
    """
    parts = text.lower().split("x")
    if len(parts) in {1, 2} and all(part.isdecimal() and int(part) > 0 for part in parts):
        return int(parts[0]), int(parts[-1])
    message = f"{option} {text!r}: expected HxW in LR pixels"
    raise UsageError(message, advice="For example 256x256.")


def parse_backends(names: Sequence[str] | None, *, compiled: bool) -> tuple[str, ...]:
    """Backends in their order, each once; eager torch if none is named.

    Args:
        names: values of ``--backend``.
        compiled: ``--compile`` was given.

    Raises:
        UsageError: an unknown name; the message names the known ones.
    """
    chosen = [*(names or ()), *(["torch-compile"] if compiled else [])] or [EAGER]
    return tuple(get_backend(name).name for name in dict.fromkeys(chosen))


def parse_weights(
    specs: Sequence[str], names: Sequence[str]
) -> dict[str, Path | Literal["auto"] | None]:
    """Weights by network name from ``NAME=FILE``, ``NAME=random`` or a single ``FILE``.

    Raises:
        UsageError: a named network does not run, or a single file is given for several networks.
    """
    chosen: dict[str, Path | Literal["auto"] | None] = {}
    for spec in specs:
        name, separator, value = spec.partition("=")
        if not separator or (name not in names and Path(spec).is_file()):
            if len(names) != 1:
                message = f"--weights {spec}: which of {', '.join(names)} is it for?"
                raise UsageError(message, advice="Write --weights NAME=FILE.")
            name, value = names[0], spec
        if name not in names:
            message = f"--weights {spec}: {name} is not among the networks to run"
            raise UsageError(message, advice=f"They are: {', '.join(names)}.")
        chosen[name] = None if value == "random" else Path(value)
    return chosen


def parse_interpreters(specs: Sequence[str]) -> dict[str, str]:
    """Interpreters by network name from ``NAME=PATH``.

    Raises:
        UsageError: the text has another form.
    """
    chosen: dict[str, str] = {}
    for spec in specs:
        name, separator, value = spec.partition("=")
        if not separator or not name or not value:
            message = f"--python {spec}: expected NAME=PATH"
            raise UsageError(message, advice="For example team07-net=env39/bin/python.")
        chosen[name] = value
    return chosen


def is_given(ctx: typer.Context, name: str) -> bool:
    """Whether an option stands on the command line."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
