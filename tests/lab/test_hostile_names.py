# SPDX-License-Identifier: GPL-2.0-only
"""Tunnels named by a stranger: all commands show them, and what is advised mends only them."""

import json

import pytest

from tests.frames import answer, gre_packet
from tests.lab.hostile import TYPABLE, UNTYPABLE, strange_pair, typed
from tests.lab.hosts import A, B, hosts, pair, run, tunnel_b, wire
from tests.lab.session import explain_drop, gretrace, running

EVERY = TYPABLE + UNTYPABLE


def make(host, name, number):
    """A tunnel to A with a key of its own."""
    run(
        *("ip", "-n", host.name, "link", "add", "dev", name, "type", "gre"),
        *("local", B, "remote", A, "key", str(number), "ttl", "255"),
    )
    run("ip", "-n", host.name, "link", "set", "dev", name, "up")


def ikey(host, name):
    shown = run("ip", "-n", host.name, "-d", "-j", "link", "show", "dev", name).stdout
    return json.loads(shown)[0]["linkinfo"]["info_data"].get("ikey")


def test_a_tunnel_is_changed_by_what_is_printed_and_nothing_else_is():
    with pair() as (a, b):
        for number, name in enumerate(TYPABLE):
            make(b, name, number)
            run("ip", "-n", b.name, "link", "set", "dev", name, "down")
        with explain_drop(None, "--netns", b.name) as session:
            for number in range(len(TYPABLE)):
                a.send("va", gre_packet(A, B, key=number))
            session.wait_for_packets(len(TYPABLE))
            assert session.stop() == 3
        assert {report["tunnel"] for report in session.reports} == set(TYPABLE)
        for report in session.reports:
            assert report["cause"] == "tunnel-down"
            typed(report["fix"][0]["command"])
        up = run("ip", "-n", b.name, "-j", "link", "show", "up").stdout
        assert {link.get("ifname") for link in json.loads(up)} >= set(TYPABLE)


@pytest.mark.parametrize("name", TYPABLE[:3] + UNTYPABLE[:2], ids=ascii)
def test_a_tunnel_in_a_namespace_of_a_stranger(name):
    """The attack: it fits what arrives here, so its name is what is read."""
    with strange_pair("vs", f"{A}/24", f"{B}/24") as (_, strange), hosts("b", "c") as (b, c):
        wire(c, "vc", f"{A}/24", b, "vb", f"{B}/24")
        make(strange, name, 7)
        with explain_drop(None, "--netns", b.name) as session:
            c.send("vc", gre_packet(A, B, key=7))
            session.wait_for_packets(1)
            assert session.stop() == 3
        (report,) = session.reports
        assert report["cause"] == "wrong-netns"
        command = report["fix"][0]["command"]
        if name in UNTYPABLE:
            assert command is None
            assert "No command: " in report["fix"][0]["note"]
            assert session.stdout.replace("\n", "").isprintable()
            return
        typed(command)
        # It went from there to here and back, and takes what arrives here now.
        assert ikey(strange, name) == "0.0.0.7"
        with explain_drop(None, "--netns", b.name) as session:
            c.send("vc", gre_packet(A, B, key=7))
            assert session.stop() == 0, session.stdout


def test_every_listing_prints_and_is_a_line_for_each():
    with pair() as (a, b):
        for number, name in enumerate(EVERY):
            make(b, name, number)
        for command in ("tunnels", "check"):
            for output in ("table", "json"):
                done = gretrace(None, command, "--netns", b.name, "-o", output)
                assert done.stdout.replace("\n", "").isprintable()
                assert done.stderr.replace("\n", "").isprintable()
                if command == "tunnels":
                    lines = [line for line in done.stdout.splitlines() if "gre" in line]
                    assert len(lines) >= len(EVERY)
        listed = gretrace(None, "tunnels", "--netns", b.name, "-o", "json").records
        assert {record["name"] for record in listed} >= set(TYPABLE)
        with running(None, "lookup", "--follow", "--netns", b.name, "-v") as session:
            for number in range(len(EVERY) + 1):
                a.send("va", gre_packet(A, B, key=number))
            session.wait_for_text(f"key {len(EVERY)} 0x0800 -> no tunnel")
            assert session.stop() == 0
        assert session.stdout.replace("\n", "").isprintable()
        assert "please report it" not in session.stdout


def test_a_responder_is_attached_by_what_is_printed():
    with pair() as (a, b):
        # Before v6.2 a device that is up keeps its name.
        tunnel_b(b, up=False)
        run("ip", "-n", b.name, "link", "set", "dev", "gre1", "name", "-x")
        run("ip", "-n", b.name, "link", "set", "dev", "-x", "up")
        keepalive = gre_packet(A, B, answer(B, A))
        with explain_drop(None, "--netns", b.name) as session:
            a.send("va", keepalive)
            session.wait_for_packets(1)
            assert session.stop() == 3
        (report,) = session.reports
        assert report["cause"] == "keepalive-unanswered"
        command = report["fix"][0]["command"]
        assert command == f"gretrace respond --netns {b.name} -- -x"
        done = gretrace(None, *command.split()[1:])
        assert done.exit_code == 0, done.stderr
