# SPDX-License-Identifier: GPL-2.0-only
"""Firewalls and programs that drop: which rule it was, and the command that lets packets pass."""

import tempfile

import pytest

from tests.frames import gre_packet, ipv4
from tests.lab.broken import (
    FAR,
    FAR6,
    Fault,
    break_and_mend,
    inside,
    inside6,
    with_ipv6,
)
from tests.lab.hosts import INNER_A, INNER_B, A, B
from tests.lab.test_delivery import XDP_DROP, both, compile_program, forwarding

NETFILTER = ("nft_do_chain", "nf_hook_slow")
TC = ("__netif_receive_skb_core", "sch_handle_ingress", "__dev_queue_xmit", "sch_handle_egress")
XDP = ("do_xdp_generic", "netif_receive_generic_xdp", "bpf_prog_run_generic_xdp")


def ruleset(text):
    """Load a ruleset; `;` stands for the end of a line."""

    def load(b):
        lines = text.replace("}", "\n}").replace(";", "\n")
        b.run("nft", "-f", "-", stdin=lines + "\n")

    return load


def chain(hook, rules, *, family="inet", table="f", policy="accept"):
    """A table with one chain, which has these rules."""
    return (
        f"table {family} {table} {{\nchain c {{\ntype filter hook {hook} priority 0\n"
        f"policy {policy}\n{rules}\n}}\n}}\n"
    )


def chained(hook, rules, **more):
    return ruleset(chain(hook, rules, **more))


def tc(device, direction):
    return lambda b: b.shell(
        f"tc qdisc add dev {device} clsact && "
        f"tc filter add dev {device} {direction} protocol ip pref 7 matchall action drop"
    )


def xdp(device):
    def attach(b):
        with tempfile.TemporaryDirectory() as directory:
            compile_program(b, XDP_DROP, f"{directory}/drop.o")
            b.ip(f"link set dev {device} xdpgeneric object {directory}/drop.o section xdp")

    return attach


TWO_CHAINS = (
    "table inet one {\nchain c {\ntype filter hook input priority 0\npolicy drop\n"
    "ip protocol gre accept\nct state established accept\ntcp dport 22 accept\n}\n}\n"
    "table ip two {\nchain sub {\nip saddr 10.10.0.0/16 reject\n}\n"
    "chain c {\ntype filter hook input priority 10\niifname { gre1, gre2 } jump sub\n}\n}\n"
)

FAULTS = {
    "firewall": Fault(
        "firewall",
        chained("input", 'iifname "gre*" counter drop'),
        function=NETFILTER,
        words=("at input", "“iifname gre* drop” (handle", "chain c of table inet f"),
        command=f'nft \'insert rule inet f c iifname "gre1" ip saddr {INNER_A} ip daddr {INNER_B}',
    ),
    "firewall, two chains": Fault(
        "firewall",
        ruleset(TWO_CHAINS),
        function=NETFILTER,
        confidence="likely",
        words=("one of 2 rules or policies", "the policy drop of chain c of table inet one"),
        evidence=("“ip saddr 10.10.0.0/16 reject”",),
        command='nft \'insert rule inet one c iifname "gre1"',
    ),
    "firewall, before the route": Fault(
        "firewall",
        chained("prerouting", f"ip saddr {INNER_A} drop", family="ip"),
        function=NETFILTER,
        words=("prerouting", f"“ip saddr {INNER_A} drop”"),
        command="nft 'insert rule ip f c",
    ),
    "firewall, forwarded": Fault(
        "firewall",
        both(forwarding, chained("forward", "oifname gre1 accept", policy="drop")),
        inside(destination=FAR),
        function=NETFILTER,
        words=("at forward", "the policy drop"),
        command="nft 'insert rule inet f c",
        arrives="lan0",
    ),
    "firewall, forwarded, IPv6": Fault(
        "firewall",
        both(with_ipv6, forwarding, chained("forward", "meta nfproto ipv6 drop")),
        inside6(destination=FAR6),
        function=NETFILTER,
        words=("at forward", "nfproto ipv6 drop"),
        command="nft 'insert rule inet f c",
        arrives="lan0",
    ),
    "firewall, sent": Fault(
        "firewall",
        chained("postrouting", "oifname gre1 udp dport 9 drop"),
        None,
        function=NETFILTER,
        words=("postrouting", "udp dport 9 drop"),
        command=f"nft 'insert rule inet f c oifname \"gre1\" ip daddr {INNER_A} accept'",
    ),
    "firewall, conntrack": Fault(
        "firewall",
        chained("input", "ct state vmap { established : accept, invalid : drop }"),
        gre_packet(A, B, ipv4(INNER_A, INNER_B, 6, bytes(20))),
        function=NETFILTER,
        words=("conntrack takes them for INVALID",),
        command="nft 'insert rule inet f c",
        arrives=None,
    ),
    "firewall-outer": Fault(
        "firewall-outer",
        chained("input", "ip protocol gre drop", family="ip"),
        function=NETFILTER,
        iif="vb",
        words=("at input", "“ip protocol gre drop”"),
        command=f"nft 'insert rule ip f c ip saddr {A} meta l4proto gre accept'",
    ),
    "firewall-outer, policy": Fault(
        "firewall-outer",
        chained("input", "iifname gre1 accept", policy="drop"),
        function=NETFILTER,
        iif="vb",
        words=("the policy drop",),
        command=f"nft 'insert rule inet f c ip saddr {A} meta l4proto gre accept'",
    ),
    "firewall-outer, at ingress": Fault(
        "firewall-outer",
        chained("ingress device vb", "ip protocol gre drop", family="netdev"),
        function=NETFILTER,
        iif="vb",
        words=("ingress", "table netdev f"),
        command="nft 'insert rule netdev f c",
    ),
    "firewall-outer, sent": Fault(
        "firewall-outer",
        chained("output", "oifname vb meta l4proto gre drop"),
        None,
        function=NETFILTER,
        words=("at output", "l4proto gre drop"),
        command=f"nft 'insert rule inet f c ip daddr {A} meta l4proto gre accept'",
    ),
    "firewall-outer, sent, at postrouting": Fault(
        "firewall-outer",
        chained("postrouting", "meta l4proto gre drop"),
        None,
        function=NETFILTER,
        iif="vb",
        words=("postrouting",),
        command=f"nft 'insert rule inet f c ip daddr {A} meta l4proto gre accept'",
    ),
    **{
        f"tc-drop, {device} {direction}": Fault(
            "tc-drop",
            tc(device, direction),
            packet,
            TC,
            iif=device,
            words=(f"at the {direction} of {device}", "matchall, pref 7, handle 0x1, action drop"),
            command=f"tc filter del dev {device} {direction} pref 7 handle 0x1 matchall",
        )
        for device in ("gre1", "vb")
        for direction, packet in (("ingress", inside()), ("egress", None))
    },
    **{
        f"xdp-drop, {device}": Fault(
            "xdp-drop",
            xdp(device),
            function=XDP,
            iif=device,
            words=("The XDP program drop (id ", f") on {device}"),
            command=f"ip link set dev {device} xdpgeneric off",
        )
        for device in ("gre1", "vb")
    },
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_cause_is_named_and_its_fix_mends(fault):
    break_and_mend(fault)
