# SPDX-License-Identifier: GPL-2.0-only
"""Commands as a shell and the programs read them, whatever the names in them hold."""

import os
import shlex
import subprocess
from ipaddress import ip_address

import pytest

from gretrace.commands import (
    HERE,
    Identifier,
    Netns,
    Quoted,
    Shell,
    ip_link,
    iptables,
    nft,
    respond,
    run,
    sysctl,
)

HOSTILE = [
    *("$(id>&2)", ";id", "`id`", "it's", 'a"b', "a'b\"c", "!id", "=ls", "~", "#a", "a&b", "a|b"),
    *("{a,b}", "*", "a b", "\\", "-x", "--", "up", "é", "$$"),
]
UNTYPABLE = ["a\nb", "a\x1b]52;c;x\x07", "\x7f", "a\u202eb", "\u2028", "\udcff", "a\u200bb", "\x85"]
BLUE = Netns("blue")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_one_word_to_a_shell(name):
    command = ip_link(Netns(name), "set", name, "up")
    words = ["ip", "-n", name, "link", "set", "dev", name, "up"]
    assert shlex.split(command.text) == words
    shown = subprocess.run(
        ["sh", "-c", f"printf '%s\\0' {command.text}"], capture_output=True, check=True
    )
    assert shown.stdout.split(b"\0")[:-1] == [os.fsencode(word) for word in words]


@pytest.mark.parametrize("name", UNTYPABLE)
def test_what_a_terminal_would_act_on_is_not_given_to_be_pasted(name):
    command = ip_link(HERE, "set", name, "up") + ip_link(HERE, "set", "gre1", "up")
    assert command.text is None
    assert "cannot be pasted safely" in command.obstacle
    assert str(command).startswith("(no command: ")
    assert str(command).isprintable()


def test_plain_words_are_not_quoted():
    assert ip_link(HERE, "set", "gre1", "mtu", 1476).text == "ip link set dev gre1 mtu 1476"
    assert run(HERE, "ip", "route", "get", ip_address("fd00::1")).text == "ip route get fd00::1"


def test_zsh_does_not_look_for_a_program():
    assert run(HERE, "tc", "filter", "show", "dev", "=ls").text.endswith(" '=ls'")


def test_a_command_acts_in_its_namespace():
    assert run(BLUE, "ip", "link").text == "ip -n blue link"
    assert run(BLUE, "tc", "qdisc").text == "ip netns exec blue tc qdisc"
    unnamed = Netns(path="/proc/7/ns/net")
    assert run(unnamed, "ip", "link").text == "nsenter --net=/proc/7/ns/net ip link"
    assert run(unnamed, "tc", "qdisc").text == "nsenter --net=/proc/7/ns/net tc qdisc"


def test_commands_are_run_one_after_another():
    both = ip_link(HERE, "del", "a;b") + ip_link(BLUE, "set", "c", "up")
    assert both.text == "ip link del dev 'a;b' && ip -n blue link set dev c up"


def test_only_the_shells_own_words_are_its_own():
    assert ip_link(BLUE, "set", "a", "netns", Shell.PID).text.endswith(" netns $$")
    assert ip_link(BLUE, "set", "a", "netns", "$$").text.endswith(" netns '$$'")


def test_a_device_like_an_option_is_no_option_of_gretrace():
    assert respond(HERE, "gre1").text == "gretrace respond gre1"
    assert respond(BLUE, "-x").text == "gretrace respond --netns blue -- -x"
    assert respond(Netns(path="/proc/7/ns/net"), "g").text == (
        "gretrace respond --netns /proc/7/ns/net g"
    )


@pytest.mark.parametrize(("name", "is_told"), [("eth0/10", True), ("a=b", False), ("a*", False)])
def test_sysctl_gets_no_name_that_it_would_read_otherwise(name, is_told):
    command = sysctl(HERE, {f"net.ipv4.conf.{name}.rp_filter": 0})
    assert command.text == (f"sysctl -w net.ipv4.conf.{name}.rp_filter=0" if is_told else None)
    assert is_told or "sysctl would not take net.ipv4.conf." in command.obstacle


@pytest.mark.parametrize(
    ("table", "is_told"),
    [
        *(("f", True), ("a-b_c.d/e", True), ("1a", False), ("a b", False), ("f;flush", False)),
        *(("table", False), ("ip", False), ("last", False), ("gc-interval", False)),
        *(("filter", True), ("nat", True), ("mangle", True), ("Table", True)),
        *(("$(id)", False), ("é", False), ("", False), ('"f"', False), ("f\\", False)),
    ],
)
def test_nft_gets_only_names_of_tables_that_it_takes(table, is_told):
    command = nft(HERE, ("flush", "table", "inet", Identifier(table)))
    assert command.text == (f"nft 'flush table inet {table}'" if is_told else None)
    assert is_told or "nft would not take" in command.obstacle


@pytest.mark.parametrize(
    ("device", "is_told"),
    [("gre1", True), ("a;b", True), ("ip", True), ("g*", False), ('a"', False), ("a\\", False)],
)
def test_nft_gets_devices_in_its_own_quotes(device, is_told):
    command = nft(BLUE, ("add rule", "iifname", Quoted(device), "accept"))
    expected = f"ip netns exec blue nft 'add rule iifname \"{device}\" accept'"
    assert command.text == (expected if is_told else None)


@pytest.mark.parametrize(("device", "is_told"), [("-x", True), ("g+", False), ("!", False)])
def test_iptables_gets_no_device_that_means_several(device, is_told):
    command = iptables(HERE, "iptables-legacy", "-i", device, device=device)
    assert command.text == (f"iptables-legacy -i {device}" if is_told else None)
