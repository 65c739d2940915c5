# SPDX-License-Identifier: GPL-2.0-only
"""Devices and namespaces whose names are commands: what is printed does only what it says."""

import json
import os
from contextlib import contextmanager

import pytest

from gretrace.commands import HERE, NFT_WORDS, Identifier, nft
from tests.frames import gre_packet
from tests.lab.hostile import TYPABLE, UNTYPABLE, strange_pair, typed
from tests.lab.hosts import A, B, pair
from tests.lab.session import explain_drop, gretrace

if os.geteuid() != 0:
    pytest.skip("loading BPF programs needs root", allow_module_level=True)

STRANGER = "99.9.9.9"


@contextmanager
def refused(device, output="json"):
    """What is said when the reverse path filter refuses GRE on a device, and its host."""
    with strange_pair(device, f"{A}/24", f"{B}/24") as (a, strange):
        # By the file, as sysctl(8) does not take every name.
        writes = 'for f in all "$0"; do echo 1 > "/proc/sys/net/ipv4/conf/$f/rp_filter"; done'
        strange.run("sh", "-c", writes, device)
        with explain_drop(None, "--netns", strange.name, output=output) as session:
            a.send("va", gre_packet(STRANGER, B))
            session.wait_for_text("rp-filter-outer")
            assert session.stop() == 3
        yield session, strange


@pytest.mark.parametrize("device", TYPABLE)
def test_a_printed_command_does_what_it_says_and_nothing_else(device):
    with refused(device) as (session, strange):
        (report,) = session.reports
        assert report["iif"] == device
        typed(report["fix"][0]["command"])
        assert f" dev {device} " in strange.run("ip", "-o", "route", "show", STRANGER).stdout


@pytest.mark.parametrize("device", UNTYPABLE, ids=ascii)
@pytest.mark.parametrize("output", ["json", "table"])
def test_a_name_that_acts_on_a_terminal_is_shown_and_not_typed(device, output):
    with refused(device, output) as (session, _):
        assert session.stdout.replace("\n", "").isprintable()
        assert session.stderr.replace("\n", "").isprintable()
        assert "No command" in session.stdout
        if output == "json":
            (report,) = session.reports
            assert report["fix"][0]["command"] is None
            assert "\\" in report["iif"]


@pytest.mark.parametrize("name", UNTYPABLE, ids=ascii)
def test_an_error_is_one_line_that_prints(name):
    for arguments in (("check", "--netns", name), ("lookup", A, B, "--iif", name)):
        done = gretrace(None, *arguments)
        assert done.exit_code == 2
        assert done.stderr[:-1].isprintable()
        assert done.stdout == ""


@pytest.mark.parametrize(
    ("table", "chain", "is_told"),
    [("filter", "input", True), ("table", "input", False), ("filter", "drop", False)],
)
def test_a_chain_that_is_called_as_nft_calls_its_own_things_is_not_typed(table, chain, is_told):
    """Its JSON takes any name, its own language does not: what would be refused is a note."""
    base = {"family": "inet", "table": table, "name": chain, "type": "filter", "hook": "input",
            "prio": 0, "policy": "drop"}  # fmt: skip
    made = [{"add": {"table": {"family": "inet", "name": table}}}, {"add": {"chain": base}}]
    with pair() as (a, b):
        b.run("nft", "-j", "-f", "-", stdin=json.dumps({"nftables": made}))
        with explain_drop(b) as session:
            a.send("va", gre_packet(A, B))
            session.wait_for_text("firewall-outer")
            assert session.stop() == 3
        (fix, *_) = session.reports[0]["fix"]
        assert (fix["command"] is not None) == is_told, fix
        if is_told:
            b.shell(fix["command"])
        else:
            assert "nft would not take" in fix["note"]


def test_nft_takes_the_names_that_it_is_given_and_none_that_it_is_not():
    """By the nft of this machine, which need not know every word of the others."""
    with pair() as (_, b):
        for name in ("filter", "nat", "mangle", "raw", "security", "input", "output", "f.a/b-c"):
            insert = nft(HERE, ("insert rule inet", Identifier(name), "c", "accept"))
            made = f"add table inet {name}; add chain inet {name} c"
            b.run("sh", "-c", f"nft '{made}' && {insert.text}")
        known = {"table", "chain", "rule", "ip", "drop", "accept", "meta", "ct", "log", "limit"}
        assert known <= NFT_WORDS
        for name in known:
            assert b.run("nft", f"add table inet {name}", check=False).returncode, name
