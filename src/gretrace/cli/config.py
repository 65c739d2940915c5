# SPDX-License-Identifier: GPL-2.0-only
"""A file of options in TOML, whose keys are the options' names without their dashes."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from gretrace.errors import UsageError

SIZE = 1 << 16  # bytes


def read_config(path: Path, command: click.Command, *, without: set[str]) -> dict[str, Any]:
    """Read a file; return its values by the names of the command's parameters.

    `without` are names of parameters that it cannot give. Raises UsageError for what is no such
    file, for a key that is no option, and for a value of another type than the option's.
    """
    try:
        with path.open("rb") as stream:
            text = stream.read(SIZE + 1)
        if len(text) > SIZE:
            raise UsageError(f"{path} is too long", f"give a file of {SIZE} bytes at most")
        told = tomllib.loads(text.decode())
    except OSError as error:
        raise UsageError(
            f"cannot read {path} ({error.strerror})", "give a file that can be read"
        ) from None
    except ValueError as error:
        raise UsageError(f"{path} is no TOML: {error}", "see https://toml.io") from None
    options = {
        option.opts[-1].lstrip("-"): option
        for option in command.params
        if isinstance(option, click.Option) and option.name not in without
    }
    values: dict[str, Any] = {}
    for key, value in told.items():
        if key not in options:
            raise UsageError(
                f"{path}: {key!r} is no option", f"these are: {', '.join(sorted(options))}"
            )
        option = options[key]
        if isinstance(value, bool) != option.is_flag or not isinstance(value, str | int | float):
            wanted = "true or false" if option.is_flag else "a string or a number"
            raise UsageError(f"{path}: {key} cannot be {value!r}", f"give {wanted}")
        values[str(option.name)] = value
    return values


def values_now(
    context: click.Context, names: tuple[str, ...], told: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what parameters would be, were the command run now with `told` as its file.

    They have no default.
    """
    found = {}
    given_here = click.core.ParameterSource.COMMANDLINE, click.core.ParameterSource.ENVIRONMENT
    for option in context.command.params:
        if option.name not in names:
            continue
        if context.get_parameter_source(option.name) in given_here:
            found[option.name] = context.params[option.name]
        elif option.name in told:
            found[option.name] = option.process_value(context, told[option.name])
        else:
            found[option.name] = (
                False if isinstance(option, click.Option) and option.is_flag else None
            )
    return found
