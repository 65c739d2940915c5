# SPDX-License-Identifier: GPL-2.0-only
"""Errors become one line and an exit code, wherever they come from."""

import re
import subprocess
import sys
from importlib import import_module
from types import SimpleNamespace

import pytest

from gretrace import __version__
from gretrace.cli import run, watched
from gretrace.cli.commands import COMMANDS, load_all
from gretrace.errors import PrerequisiteError
from gretrace.host import features
from gretrace.render.listing import Listed, to_lines
from tests.unit.cases import tunnel

# In the package the command has the name of its module.
command = import_module("gretrace.cli.explain_drop")


@pytest.fixture
def capable(monkeypatch):
    """As if the kernel had all that is needed."""
    monkeypatch.setattr(command, "require_privilege", lambda: None)
    monkeypatch.setattr(command, "has_gre", lambda: True)


def refused(capsys, *arguments):
    code = run(arguments)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("gretrace: ")
    assert err.count("\n") == 1, err
    return code, err


@pytest.mark.usefixtures("capable")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["explain-drop", "--key", "12x"], "'12x' is no GRE key"),
        (["explain-drop", "--remote", "1.2.3"], "'1.2.3' is no IPv4 or IPv6 address"),
        (["explain-drop", "--netns", "nowhere"], "there is no network namespace 'nowhere'"),
        (["explain-drop", "--netns", "999999999"], "there is no network namespace"),
        (["explain-drop", "--netns", "/nowhere"], "there is no network namespace"),
        (["explain-drop", "--netns", "x", "--all-netns"], "contradict"),
        (["explain-drop", "--iif", "lo", "--all-netns"], "--iif needs one namespace"),
        (["explain-drop", "-c", "0"], "-c"),
        (["explain-drop", "--duration", "-1"], "--duration"),
        (["explain-drop", "-o", "xml"], "xml"),
        (["explain-drop", "surplus"], "surplus"),
        (["nonsense"], "nonsense"),
    ],
)
def test_bad_usage_is_one_line_and_exit_2(capsys, arguments, words):
    code, err = refused(capsys, *arguments)
    assert code == 2
    assert words in err


def test_without_privilege_it_says_what_to_do(capsys, monkeypatch):
    monkeypatch.setattr(features, "_effective_capabilities", lambda: 0)
    code, err = refused(capsys, "explain-drop")
    assert code == 4
    assert "needs root; run it with sudo" in err


def test_without_gre_it_says_what_to_do(capsys, monkeypatch):
    monkeypatch.setattr(import_module("gretrace.cli.lookup"), "require_privilege", lambda: None)
    monkeypatch.setattr(features, "has_gre", lambda: False)
    code, err = refused(capsys, "lookup", "--follow")
    assert code == 4
    assert "has no GRE" in err
    assert "CONFIG_NET_IPGRE" in err


@pytest.mark.usefixtures("capable")
def test_a_kernel_that_takes_no_probe_is_a_missing_prerequisite(capsys, monkeypatch):
    def refuse(*_):
        raise PrerequisiteError("this kernel has no BTF", "boot one that has")

    monkeypatch.setattr(command, "open_drops", refuse)
    monkeypatch.setattr(watched, "TunnelTables", NoTables)
    code, err = refused(capsys, "explain-drop")
    assert code == 4
    assert "no BTF; boot one that has" in err


class NoTables:
    def __init__(self, *_, **__):
        pass

    def open(self, namespace):
        self.table = SimpleNamespace(namespace=namespace)

    def opened(self):
        return [self.table]

    def close(self):
        pass


def test_an_interrupt_before_the_start_is_no_traceback(capsys, monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "require_privilege", interrupt)
    assert run(["explain-drop"]) == 130
    # click ends the line on which the terminal has put ^C.
    assert capsys.readouterr().err.strip() == "gretrace: interrupted; nothing is left attached"


def test_version_and_help(capsys):
    assert run(["--version"]) == 0
    # What a report of a fault has to name.
    said = capsys.readouterr().out
    assert said.startswith(f"gretrace {__version__} (")
    assert re.search(r" \((a checkout|commit \w+)\), libbpf 1\.\d+, Linux \d.*\n$", said)
    assert run(["explain-drop", "--help"]) == 0
    assert "--ready-file" in capsys.readouterr().out


def test_without_libbpf_what_needs_none_works():
    code = (
        "import ctypes, sys; real = ctypes.CDLL\n"
        "def absent(name, *a, **k):\n"
        "    if name == 'libbpf.so.1': raise OSError(name)\n"
        "    return real(name, *a, **k)\n"
        "ctypes.CDLL = absent\n"
        "from gretrace.cli import run; from gretrace.cli.commands import load_all; load_all()\n"
        "sys.exit(run(sys.argv[1:]))"
    )

    def ran(*arguments):
        return subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
        )

    assert ", no libbpf, Linux" in ran("--version").stdout
    assert ran("respond", "--help").returncode == 0
    refused = ran("explain-drop", "--duration", "0")
    if "needs root" not in refused.stderr:
        assert refused.returncode == 4
        assert refused.stderr.splitlines()[-1].startswith("gretrace: libbpf.so.1 is not installed")


def test_every_command_is_listed_and_only_called_ones_are_imported():
    code = "import gretrace.cli.outcome, sys; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "gretrace.cli" in modules
    assert not {f"gretrace.cli.{name.replace('-', '_')}" for name in COMMANDS} & set(modules)
    assert [found.name for found in load_all()] == list(COMMANDS)


def test_without_a_command_the_help_is_shown(capsys):
    assert run([]) == 2
    assert "explain-drop  Say why GRE packets are dropped, live." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["lookup"], "give REMOTE and LOCAL, or --follow"),
        (["lookup", "20.1.1.2"], "give REMOTE and LOCAL, or --follow"),
        (["lookup", "20.1.1.2", "fd00::1"], "are of two IP versions"),
        (["lookup", "20.1.1.2", "nonsense"], "'nonsense' is no IPv4 or IPv6 address"),
        (["lookup", "20.1.1.2", "20.1.1.1", "--proto", "x"], "'x' is no GRE protocol"),
        (["lookup", "20.1.1.2", "20.1.1.1", "--key", "5x"], "'5x' is no GRE key"),
        (["lookup", "20.1.1.2", "20.1.1.1", "--duration", "3"], "--duration needs --follow"),
        (["lookup", "--follow", "20.1.1.2"], "cannot be given with --follow"),
        (["lookup", "--follow", "--tunnels", "x.json"], "--tunnels cannot be given with --follow"),
        (["lookup", "20.1.1.2", "20.1.1.1", "--iif", "nothere9"], "no interface 'nothere9'"),
        (["lookup", "20.1.1.2", "20.1.1.1", "--tunnels", "/none"], "/none"),
    ],
)
def test_what_lookup_cannot_make_sense_of(capsys, arguments, sentence):
    code, err = refused(capsys, *arguments)
    assert code == 2
    assert sentence in err


def test_lookup_answers_without_a_packet_and_without_root(capsys, tmp_path):
    table = tmp_path / "tunnels.json"
    table.write_text(to_lines([Listed(tunnel(key=5), {}, None)]))
    asked = ["lookup", "20.1.1.2", "20.1.1.1", "--tunnels", str(table), "--key", "0.0.0.5"]
    assert run(asked) == 0
    assert capsys.readouterr().out == "20.1.1.2 > 20.1.1.1, key 5, 0x0800: gre1 takes it (exact).\n"
