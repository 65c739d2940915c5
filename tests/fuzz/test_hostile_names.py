# SPDX-License-Identifier: GPL-2.0-only
"""Names of strangers in every verdict and check: a printed command takes each as one word."""

import re
import shlex
from contextlib import nullcontext
from copy import copy
from dataclasses import fields, is_dataclass, replace
from functools import reduce
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from gretrace.checks import CHECKS
from gretrace.checks import tunnels as checks
from gretrace.checks.registry import Machine
from gretrace.commands import HERE, Command, run
from gretrace.host.namespaces import Namespace
from gretrace.keepalive import responder
from gretrace.kernel.lookup import Tables
from gretrace.kernel.surroundings import Nowhere
from gretrace.model import Route
from gretrace.render.record import advice
from gretrace.verdicts import explain
from tests.unit.cases import NETNS, tunnel
from tests.unit.expected import EXPECTED
from tests.unit.host import FakeHost

CASES = [case for case, _ in EXPECTED.values()]
DEVICES = ("gre0", "gre1", "gre2", "vb", "lan0")
NAMES = (*DEVICES, "blue", "f", "g", "c", "d")
PROGRAMS = {
    *("ip", "bridge", "nsenter", "sysctl", "nft", "tc", "ethtool", "modprobe", "gretrace", "wg"),
    *("iptables-legacy", "ip6tables-legacy"),
}
# Those that read a word by rules of their own, and so may be unable to read a name.
CHOOSY = ("sysctl", "nft", "iptables-legacy", "ip6tables-legacy")

# What shells, programs and terminals take for something of theirs.
NASTY = st.sampled_from([
    *("$(id>&2)", ";id", "`id`", "&&", "|", "it's", 'a"b', "'", '"', "\\", "!id", "=ls", "~", "#a"),
    *("*", "x+", "!", "a=b", "a?", "[a]", "{a,b}", "$$", "-x", "--", "-n", "up", "dev", "a b"),
    *("a\nb", "x\ty", "a\x1b[31m", "\x1b]52;c;aGk=\x07", "\x9b31m", "\x7f", "\udcff\udc80"),
    *("a\u202eb", "\u2066", "\u2028", "\ud800", "a\u200bb", "\u00a0", "\ue000", "é", "eth0.10"),
])  # fmt: skip
ANY = st.text(st.characters(exclude_characters="\0/"), min_size=1, max_size=15)
HOSTILE = st.lists(NASTY | ANY, min_size=len(NAMES), max_size=len(NAMES), unique=True)
LOOKS = [look for _, look in CHECKS if look.__module__ == checks.__name__]
# By these the same case tells which words of a command are names.
TOKENS = [f"n{number}n" for number in range(len(NAMES))]


def rename(value, names):
    """Give all that has a name, anywhere in a case, the name that it is to have."""
    if isinstance(value, str):
        setting = re.fullmatch(r"(net\.(?:ipv[46]|mpls)\.conf\.)([^.]+)(\.\w+)", value)
        if setting and setting[2] in names:
            return setting[1] + names[setting[2]].replace(".", "/") + setting[3]
        return names.get(value, value)
    if isinstance(value, dict):
        return {rename(k, names): rename(v, names) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(rename(item, names) for item in value)
    if isinstance(value, Tables):
        return Tables(rename(tuple(value.tunnels), names))
    if is_dataclass(value):
        changed = {f.name: rename(getattr(value, f.name), names) for f in fields(value)}
        return replace(value, **changed)
    if isinstance(value, Nowhere):
        renamed = copy(value)
        vars(renamed).update(rename(vars(value), names))
        return renamed
    return value


def renamed_word(word, names):
    """Give a word, which has the tokens, the names instead."""
    if word.startswith(("net.ip", "net.mpls")):
        names = {token: name.replace(".", "/") for token, name in names.items()}
    return reduce(lambda text, pair: text.replace(*pair), names.items(), word)


def renamed_step(step, names):
    """The words of one program with the names; one like an option ends gretrace's options."""
    words = [renamed_word(word, names) for word in step]
    if step[:2] == ["gretrace", "respond"] and words[-1].startswith("-"):
        words.insert(-1, "--")
    return words


def renamed_words(command, names):
    """The same of a whole command."""
    words = shlex.split(command)
    ends = [i for i, word in enumerate(words) if word == "&&"]
    steps = [words[i + 1 : j] for i, j in pairwise([-1, *ends, len(words)])]
    renamed = [renamed_step(step, names) for step in steps]
    return [word for step in renamed for word in ("&&", *step)][1:]


def check_command(plainly, command, names):
    """Hold a command with hostile names against the one that has tokens in their place."""
    used = [name for token, name in names.items() if token in plainly.text]
    is_choosy = any(word in CHOOSY for word in shlex.split(plainly.text))
    if command.text is None:
        assert is_choosy or not all(name.isprintable() for name in used)
        assert command.obstacle.isprintable()
        return
    assert command.text.isprintable()
    assert all(name.isprintable() for name in used)
    words = shlex.split(command.text)
    assert words == renamed_words(plainly.text, names)
    assert {step[0] for step in command.steps} <= PROGRAMS


def check_note(plainly, note, names):
    """The same of commands within a sentence."""
    for told in re.findall("`([^`]+)`", plainly):
        words = renamed_words(told, names)
        command = run(HERE, *words).text
        assert command is None or f"`{command}`" in note or "(no command: " in note


# Not made smaller, which would take minutes: what failed tells its names as it is.
@settings(max_examples=40, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(HOSTILE)
def test_every_command_of_every_cause(hostile):
    names = dict(zip(TOKENS, hostile, strict=True))
    for case in CASES:
        plain_fixes = explain(rename(case, dict(zip(NAMES, TOKENS, strict=True)))).finding.fix
        fixes = explain(rename(case, dict(zip(NAMES, hostile, strict=True)))).finding.fix
        for plainly, fix in zip(plain_fixes, fixes, strict=True):
            check_note(plainly.note, fix.note, names)
            assert (plainly.command is None) == (fix.command is None)
            if plainly.command:
                check_command(plainly.command, fix.command, names)
                note, text = advice(fix)
                assert text == fix.command.text
                assert text or "No command: " in note


def remedies(device, namespace):
    """Every remedy of a check that has a name in it."""
    ours = (
        tunnel(device, fallback=True),
        tunnel(device, up=False, mtu=1476),
        tunnel(device, mtu=1500),
        tunnel(device, mtu=1476),
    )
    for each in ours:
        table = SimpleNamespace(tables=Tables([each]), namespace=namespace)
        for host in (FakeHost(), FakeHost(routes={str(each.remote): Route(7, mtu=1400)})):
            for look in LOOKS:
                for made in look(Machine(table, host)):
                    if isinstance(made.remedy, Command):
                        yield made.remedy


@settings(max_examples=200, deadline=None)
@given(device=NASTY | ANY, namespace=NASTY | ANY)
def test_every_remedy_of_a_check_of_tunnels(device, namespace):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(responder, "read", lambda _ifindex: None)
        patched.setattr(checks, "entered", lambda _namespace: nullcontext())
        plainly = list(remedies("n0n", Namespace(NETNS, Path("/run/netns/n1n"), "n1n")))
        there = Namespace(NETNS, Path("/run/netns") / namespace, namespace)
        made = list(remedies(device, there))
    assert len(plainly) >= 6
    for plain_remedy, remedy in zip(plainly, made, strict=True):
        check_command(plain_remedy, remedy, {"n0n": device, "n1n": namespace})
