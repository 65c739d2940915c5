# SPDX-License-Identifier: GPL-2.0-only
"""zsh and fish, as Debian has them, complete what is typed from what there is at that moment."""

import shlex

import pytest

from gretrace.host.features import has_gre

NAMESPACE = """
ip netns add gt-blue
trap 'ip netns del gt-blue' EXIT
ip -n gt-blue link add gt-one type veth peer name gt-two
"""
# Completion of zsh lives in its line editor, so it takes a terminal and a typed Tab, once the
# editor is there. What then stands in the line is made the argument of print.
TYPED = "\x01print -r -- typed \n"
ZSHRC = """
autoload -Uz compinit
compinit -u
zle-line-init() { touch $ZDOTDIR/ready }
zle -N zle-line-init
"""
ZSH = """
export ZDOTDIR=$(mktemp -d) TERM=dumb
printf '%s' {zshrc} > $ZDOTDIR/.zshrc
type_keys() {{
    until [[ -e $ZDOTDIR/ready ]]; do sleep 0.1; done
    printf '%s' {keys}
    sleep 300
}}
timeout -k 1 300 script -qec 'zsh -i' /dev/null < <(type_keys)
"""


@pytest.fixture(scope="module")
def shells(built):
    """The system that the package was built in, with the package and two shells more."""
    built.root.install("zsh", "fish", "iproute2", f"/build/one/{built.deb.name}")
    return built.root


def in_namespace(shells, line):
    return shells.shell(f"cd /root\n{NAMESPACE}{line}")


def zsh(keys):
    """Return what types keys into zsh and prints the line that they make, as bash."""
    keys = f"{keys}{TYPED}exit\n"
    return ZSH.format(zshrc=shlex.quote(ZSHRC), keys=shlex.quote(keys))


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ("gretrace tun\t", "gretrace tunnels"),
        # The first Tab loads the function, the next ones call it.
        (
            "gretrace explain-d\t--netns gt-b\t--iif gt-o\t",
            "gretrace explain-drop --netns gt-blue --iif gt-one",
        ),
        ("gretrace lookup --foll\t", "gretrace lookup --follow"),
    ],
)
def test_zsh(shells, keys, line):
    said = in_namespace(shells, zsh(keys))
    assert f"typed {line}" in [" ".join(line.split()) for line in said.splitlines()], said


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("gretrace tun", ["tunnels"]),
        ("gretrace explain-drop --netns gt-", ["gt-blue"]),
        ("gretrace explain-drop --netns gt-blue --iif gt-", ["gt-one", "gt-two"]),
        ("gretrace lookup --foll", ["--follow"]),
    ],
)
def test_fish(shells, line, offered):
    said = in_namespace(shells, f"fish -c 'complete -C \"{line}\"'")
    # A description follows the word.
    assert [word.partition("\t")[0] for word in said.splitlines()] == offered


@pytest.mark.skipif(not has_gre(), reason="needs a kernel with GRE, for a tunnel to be named")
def test_both_complete_the_name_of_a_tunnel(shells):
    made = "ip -n gt-blue link add gt-tunnel type gre local 20.1.1.1 remote 20.1.1.2\n"
    line = "gretrace respond --netns gt-blue gt-"
    assert in_namespace(shells, f"{made}fish -c 'complete -C \"{line}\"'").split() == ["gt-tunnel"]
    assert f"typed {line}tunnel" in in_namespace(shells, made + zsh(f"{line}\t"))
