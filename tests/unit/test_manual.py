# SPDX-License-Identifier: GPL-2.0-only
"""Manual pages and --help say the same, what they show works, and the shells complete names."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete

from gretrace.cli import complete
from gretrace.cli.commands import COMMANDS, load
from gretrace.cli.outcome import gretrace
from gretrace.host.netlink import Link
from man import pages

ROOT = Path(__file__).parents[2]
OPTION = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")


def page_of(name):
    return pages.pages()[f"share/man/man8/gretrace-{name}.8"]


def section(page, title):
    return page.partition(f".SH {title}\n")[2].partition("\n.SH ")[0].replace("\\-", "-")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_page_has_the_options_of_help_and_no_others(name):
    context = click.Context(load(name), parent=pages.group_context(), info_name=name)
    terms = re.findall(r"^\.TP\n\\fB(.*)\\fR$", section(page_of(name), "OPTIONS"), re.MULTILINE)
    in_help = context.command.get_help(context).partition("Options:")[2].partition("Examples:")[0]
    # Of --help only where an option begins a line: its text may name others.
    shown = re.findall(r"^  (-.*?)(?:  |$)", in_help, re.MULTILINE)
    assert set(OPTION.findall(" ".join(terms))) == set(OPTION.findall(" ".join(shown)))
    assert "--help" in " ".join(terms)


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_come_first_and_are_command_lines_that_parse(name):
    page = page_of(name)
    titles = re.findall(r"^\.SH (.*)$", page, re.MULTILINE)
    assert titles[:4] == ["NAME", "SYNOPSIS", "EXAMPLES", "DESCRIPTION"]
    assert {"OPTIONS", "EXIT STATUS", "FILES", "ENVIRONMENT"} <= set(titles)
    command = load(name)
    assert command.examples
    for line in command.examples:
        words = shlex.split(line.partition(" > ")[0])
        if words[0] == "gretrace":
            assert words[1] == name
            command.make_context(name, words[2:])


def test_the_unit_starts_what_the_command_line_has():
    unit = (ROOT / "debian/gretrace.gretrace-respond@.service").read_text()
    starts = re.findall(r"^Exec\w+=-?/usr/sbin/gretrace respond (.*)$", unit, re.MULTILINE)
    assert len(starts) == 2
    for words in starts:
        load("respond").make_context("respond", words.split())


def test_text_is_no_roff_request():
    assert pages.escape(".so /etc/passwd") == "\\&.so /etc/passwd"
    assert pages.escape("a\n'b \\f") == "a\n\\(aqb \\ef"


def offered(*words, incomplete=""):
    shell = ShellComplete(gretrace, {}, "gretrace", "_GRETRACE_COMPLETE")
    return [item.value for item in shell.get_completions(list(words), incomplete)]


@pytest.fixture
def links(monkeypatch):
    def link(name, kind=None):
        return Link(1, 0, name, 1500, kind, b"", False, b"")

    made = [link("lo"), link("gre1", "gre"), link("gre2", "gre"), link("tap1", "gretap")]
    made.append(link("$(reboot)", "gre"))
    monkeypatch.setattr(complete, "_links", lambda _context: made)


@pytest.mark.usefixtures("links")
def test_tunnels_are_offered_to_respond_and_devices_to_iif():
    assert offered("respond") == ["gre1", "gre2"]
    assert offered("respond", "gre1") == ["gre2"]
    assert offered("explain-drop", "--iif") == ["gre1", "gre2", "lo", "tap1"]
    assert offered("lookup", "--iif", incomplete="t") == ["tap1"]


def test_namespaces_are_offered_by_name(monkeypatch, tmp_path):
    for name in ("r1", "r2", "x"):
        (tmp_path / name).touch()
    monkeypatch.setattr(complete, "NAMED", tmp_path)
    for name in COMMANDS:
        assert offered(name, "--netns") == ["r1", "r2", "x"], name
    assert offered("check", "--netns", incomplete="r") == ["r1", "r2"]
    monkeypatch.setattr(complete, "NAMED", tmp_path / "none")
    assert offered("check", "--netns") == []


def test_a_namespace_that_is_not_there_has_no_devices():
    assert offered("respond", "--netns", "/nowhere") == []


def test_a_shell_is_answered_without_a_word_on_stderr():
    told = {"_GRETRACE_COMPLETE": "bash_complete", "COMP_WORDS": "gretrace l", "COMP_CWORD": "1"}
    answer = subprocess.run(
        [sys.executable, "-c", "from gretrace.cli import main; main()"],
        env={**os.environ, **told},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (answer.stdout, answer.stderr) == ("plain,lookup\n", "")


@pytest.mark.parametrize("shell", pages.SHELLS)
def test_the_completion_of_each_shell_asks_the_command(shell):
    assert f"_GRETRACE_COMPLETE={shell}_complete" in pages.completion(shell)


def test_no_tab_is_lost_to_zsh_while_it_loads_the_completion():
    # Whatever click's own ending is in this version.
    end = pages.completion("zsh").rpartition("\n}\n")[2].split()
    assert end[:5] == ["if", "[[", "$funcstack[1]", "==", "_gretrace"]
    assert end.count("compdef") == 1
