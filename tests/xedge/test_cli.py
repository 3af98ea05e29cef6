"""The command line's own duties, tried with a plug-in that is really on the path."""

from __future__ import annotations

import importlib.metadata
import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import xedge
from xedge.cli import ENTRY_POINTS, EXTRA_OF, _missing_package, main
from xedge.errors import ImageError

PLUGIN = '''
import click

from xedge.errors import ImageError


@click.command()
@click.argument("words", nargs=-1)
def shout(words):
    """Shout the words.

    More about shouting.
    """
    click.echo(" ".join(words).upper())


@click.command()
def stumble():
    """Stumble over a bad image."""
    raise ImageError(
        "the image cannot be used\\nat all", expected="png", found="txt", remedy="Convert it"
    )


@click.command()
def stop():
    """Stop in the middle."""
    raise KeyboardInterrupt


@click.command()
def late():
    """Need a package only when it runs."""
    import lightning_fabric


@click.command()
def trip():
    """Trip over a file that is not there."""
    open("no-such-file.txt")


not_a_command = 3
'''
BROKEN = (
    '"""Imports what it asks for."""\nimport {package}\n\ndef needy():\n    """Need a lot."""\n'
)


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution of its own with commands, as an integrator would install it."""
    (tmp_path / "shouting.py").write_text(PLUGIN)
    (tmp_path / "needing.py").write_text(BROKEN.format(package="lightning_fabric"))
    (tmp_path / "buggy.py").write_text(BROKEN.format(package="no_such_module_anywhere"))
    info = tmp_path / "shouting-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shouting\nVersion: 1.0\n")
    commands = {
        "shout": "shouting:shout",
        "stumble": "shouting:stumble",
        "stop": "shouting:stop",
        "late": "shouting:late",
        "trip": "shouting:trip",
        "odd": "shouting:not_a_command",
        "needy": "needing:needy",
        "bug": "buggy:needy",
    }
    lines = [f"{name} = {value}" for name, value in commands.items()]
    (info / "entry_points.txt").write_text("\n".join([f"[{ENTRY_POINTS}]", *lines, ""]))
    monkeypatch.syspath_prepend(str(tmp_path))
    # What an import of an absent package raises, though the test environment has it.
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    for module in ("shouting", "needing", "buggy"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    return tmp_path


def test_help_lists_a_plugin_without_importing_it(plugin: Path) -> None:
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    assert "Shout the words" in result.output
    assert "More about shouting" not in result.output
    assert "Need a lot" in result.output
    assert "shouting" not in sys.modules


def test_plugin_command_runs(plugin: Path) -> None:
    result = CliRunner().invoke(main, ["shout", "any", "bag"])
    assert (result.exit_code, result.output) == (0, "ANY BAG\n")


def test_error_is_one_line_on_stderr(plugin: Path) -> None:
    result = CliRunner().invoke(main, ["stumble"])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == (
        "Error: the image cannot be used at all: expected png, found txt. Convert it\n"
    )


def test_an_error_of_the_system_is_one_line_too(plugin: Path) -> None:
    result = CliRunner().invoke(main, ["trip"])
    assert result.exit_code == 1
    assert result.stderr == "Error: no-such-file.txt: No such file or directory\n"
    assert isinstance(CliRunner().invoke(main, ["--debug", "trip"]).exception, FileNotFoundError)


@pytest.mark.parametrize("args", [["--debug", "stumble"], ["stumble", "--debug"]])
def test_debug_lets_the_error_through(plugin: Path, args: list[str]) -> None:
    result = CliRunner().invoke(main, args)
    assert isinstance(result.exception, ImageError)


def test_debug_after_two_dashes_is_an_argument(plugin: Path) -> None:
    result = CliRunner().invoke(main, ["shout", "--", "--debug"])
    assert result.output == "--DEBUG\n"


@pytest.mark.parametrize("command", ["needy", "late"])
def test_absent_package_names_its_extra(plugin: Path, command: str) -> None:
    result = CliRunner().invoke(main, [command])
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "'lightning_fabric'" in result.stderr
    assert "pip install 'xedge[train]'" in result.stderr


def test_a_command_of_a_package_names_the_extra_that_has_all_it_needs() -> None:
    absent = ModuleNotFoundError(name="torch")
    line = _missing_package("`xedge export`", absent, "xedge_export.command").format_message()
    assert "needs the package 'torch'" in line
    assert "pip install 'xedge[export]'" in line
    assert "xedge[train]" in _missing_package("`xedge train`", absent).format_message()


def test_absent_module_of_no_extra_is_a_bug_and_keeps_its_traceback(plugin: Path) -> None:
    result = CliRunner().invoke(main, ["bug"])
    assert isinstance(result.exception, ModuleNotFoundError)
    assert result.exception.name == "no_such_module_anywhere"


def test_entry_point_that_is_no_command(plugin: Path) -> None:
    result = CliRunner().invoke(main, ["odd"])
    assert result.exit_code == 1
    assert "shouting:not_a_command is not a command" in result.stderr


def test_interrupt_is_130_without_a_traceback(plugin: Path) -> None:
    result = CliRunner().invoke(main, ["stop"])
    assert (result.exit_code, result.stderr) == (130, "Interrupted\n")


@pytest.mark.parametrize(
    ("typed", "answer"),
    [("shuot", "Did you mean 'shout'?"), ("xyzzy", "`xedge --help` lists them all.")],
)
def test_typo_is_answered(plugin: Path, typed: str, answer: str) -> None:
    result = CliRunner().invoke(main, [typed])
    assert result.exit_code == 2
    assert f"There is no command '{typed}'. {answer}" in result.stderr


def test_version() -> None:
    result = CliRunner().invoke(main, ["--version"])
    assert result.output == f"xedge {xedge.__version__}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str) -> None:
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == 0
    assert "_XEDGE_COMPLETE" in result.stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("xedge sho", ["plain,shout"]),
        ("xedge needy --", ["plain,--debug"]),
        ("xedge --deb", ["plain,--debug"]),
    ],
)
def test_completion_answers_a_shell(plugin: Path, words: str, expected: list[str]) -> None:
    environment = os.environ | {
        "_XEDGE_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
        "PYTHONPATH": str(plugin),
    }
    code = (
        "import sys; sys.modules['lightning_fabric'] = None; "
        "from xedge.cli import main; main(prog_name='xedge')"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    found = answer.stdout.split()
    assert answer.stderr == ""
    assert [item for item in found if not item.endswith(("--help", "--version"))] == expected


def test_every_extra_and_its_packages_are_known() -> None:
    """An absent package of any extra must get its one line, not a traceback."""
    metadata = importlib.metadata.metadata("xedge")
    assert set(EXTRA_OF.values()) <= set(metadata.get_all("Provides-Extra") or ())
    optional = {
        re.split(r"[^\w.-]", requirement)[0].lower().replace("_", "-")
        for requirement in importlib.metadata.requires("xedge") or ()
        if "extra ==" in requirement
    }
    modules_of: dict[str, set[str]] = {}
    for module, distributions in importlib.metadata.packages_distributions().items():
        for name in distributions:
            modules_of.setdefault(name.lower().replace("_", "-"), set()).add(module)
    assert optional & set(modules_of), "the extras are not installed: nothing was tested"
    unknown = {
        name
        for name in optional & set(modules_of) - {"xedge"}
        if modules_of[name].isdisjoint(EXTRA_OF)
    }
    assert unknown == set()


def test_help_and_version_import_nothing_heavy() -> None:
    code = (
        "import json, sys; from click.testing import CliRunner; from xedge.cli import main; "
        "CliRunner().invoke(main, ['--help'], catch_exceptions=False); "
        "print(json.dumps(sorted(sys.modules)))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    heavy = {"torch", "onnx", "onnxruntime", "openvino", "cv2", "numpy", "rich"}
    assert heavy.isdisjoint(json.loads(answer.stdout))


def leaves(command: click.Command) -> list[click.Command]:
    if isinstance(command, click.Group):
        return [leaf for child in command.commands.values() for leaf in leaves(child)]
    return [command]


@pytest.mark.parametrize(
    "entry_point",
    [p for p in importlib.metadata.entry_points(group=ENTRY_POINTS) if p.dist.name == "xedge"],
    ids=lambda p: p.name,
)
def test_installed_command_keeps_the_rules(entry_point: importlib.metadata.EntryPoint) -> None:
    """Every command has a summary that help can find unimported, `--json`, and examples."""
    listing = CliRunner().invoke(main, ["--help"]).output
    (line,) = [row for row in listing.splitlines() if row.startswith(f"  {entry_point.name} ")]
    assert len(line.split()) > 2, f"{entry_point.value} has no docstring"
    for command in leaves(entry_point.load()):
        assert "--json" in {option for p in command.params for option in p.opts}, command.name
        text = f"{command.help}{command.epilog}"
        assert "Example" in text, f"{command.name}: its help shows no example"


def pages(
    command: click.Command, above: click.Context | None, name: str
) -> Iterator[click.Context]:
    """A context of the command and of each one under it."""
    context = click.Context(command, info_name=name, parent=above, terminal_width=80)
    yield context
    if isinstance(command, click.Group):
        for under in command.list_commands(context):
            found = command.get_command(context, under)
            assert found is not None
            yield from pages(found, context, under)


def test_help_keeps_the_lines_of_examples_and_exit_codes() -> None:
    kept = {}
    for context in pages(main, None, "xedge"):
        page = context.command.get_help(context)
        assert "\\b" not in page, context.command_path
        shown = {line.strip() for line in page.splitlines()}
        written = (
            inspect.cleandoc(context.command.help or "") + "\n" + (context.command.epilog or "")
        )
        lines = [line.strip() for line in written.splitlines() if line.startswith("  ")]
        assert [line for line in lines if line not in shown] == [], context.command_path
        kept[context.command_path] = lines
    assert "xedge bench belt" in kept["xedge bench belt"]
    assert "2  wrong usage" in kept["xedge run"]
