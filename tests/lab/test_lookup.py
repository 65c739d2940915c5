# SPDX-License-Identifier: GPL-2.0-only
"""`gretrace lookup`: the kernel's decision as it happens, and as it would be."""

import json

from tests.frames import gre, gre_packet, ipv6
from tests.lab.hosts import A, B, hosts, pair, tunnel, tunnel_b, wire
from tests.lab.session import gretrace, running

NAT = "30.2.1.2"


def follow(host, *options):
    return running(host, "lookup", "--follow", "-o", "json", *options)


def test_each_decision_is_shown_with_its_candidates():
    with pair() as (a, b):
        tunnel_b(b, "key 1")
        tunnel(b, f"local {B} remote {NAT} key 2", name="gre2")
        with follow(b) as session:
            for key in (1, 2, None):
                a.send("va", gre_packet(A, B, key=key))
            session.wait_for_records(3)
            assert session.stop() == 0
        taken, wrong, missing = session.records
        assert taken["tunnel"] == "gre1"
        assert (taken["pass"], taken["fallback"], taken["disagreement"]) == ("exact", False, None)
        assert (taken["iif"], taken["remote"], taken["local"]) == ("vb", A, B)
        assert (taken["key"], taken["flags"], taken["protocol"]) == (1, ["key"], "0x0800")
        assert taken["netns"] == b.namespace.inode
        first = taken["candidates"][0]
        assert first == {"tunnel": "gre1", "matched": True, "mismatches": []}
        assert wrong["tunnel"] is None
        assert [(c["tunnel"], c["mismatches"]) for c in wrong["candidates"]] == [
            ("gre1", ["key"]),
            ("gre2", ["remote"]),
        ]
        assert (missing["key"], missing["tunnel"]) == (None, None)


def test_key_0_and_no_key_and_the_fallback_stay_apart():
    with pair() as (a, b):
        tunnel_b(b, "key 0")
        b.ip("link set gre0 up")
        with follow(b) as session:
            for key in (0, None, 7):
                a.send("va", gre_packet(A, B, key=key))
            session.wait_for_records(3)
            session.stop()
        zero, none, seven = session.records
        assert (zero["key"], zero["tunnel"], zero["fallback"]) == (0, "gre1", False)
        assert (none["key"], none["tunnel"], none["fallback"]) == (None, "gre0", True)
        assert (seven["tunnel"], seven["fallback"], seven["pass"]) == ("gre0", True, "fallback")


def test_filters_run_in_the_kernel():
    with pair() as (a, b):
        tunnel_b(b, "key 1")
        with follow(b, "--key", "none", "--remote", A, "--iif", "vb") as session:
            a.send("va", gre_packet(A, B, key=1), times=5)
            a.send("va", gre_packet(A, B))
            a.send("va", gre_packet("20.1.1.77", B))
            session.wait_for_records(1)
            session.stop()
        assert [(r["key"], r["remote"]) for r in session.records] == [(None, A)]


def test_a_table_that_changes_is_followed():
    with pair() as (a, b):
        tunnel_b(b, "key 1")
        with follow(b) as session:
            for number, change in enumerate(
                ("link show gre1", "link set gre1 down", "link set gre1 up", "link del gre1"), 1
            ):
                b.ip(change)
                a.send("va", gre_packet(A, B, key=1))
                session.wait_for_records(number)
            session.stop()
        assert [r["tunnel"] for r in session.records] == ["gre1", None, "gre1", None]
        assert [r["disagreement"] for r in session.records] == [None] * 4


def test_a_flood_is_counted_and_said_to_be_more_than_was_shown():
    flood = 20_000
    with pair() as (a, b):
        tunnel_b(b)
        with running(b, "lookup", "--follow", "--rate", "100") as session:
            a.send("va", gre_packet(A, B), times=flood)
            session.wait_for_text("came too fast to be shown")
            assert session.stop() == 0
        shown = session.stdout.count("-> gre1 (exact)")
        assert 0 < shown < flood / 4
        (row,) = [line for line in session.stdout.splitlines() if line.startswith(str(flood))]
        assert row.split()[:3] == [str(flood), "gre1", "exact"]


def test_verbose_shows_the_kernels_way():
    with pair() as (a, b):
        tunnel_b(b, "key 1")
        with running(b, "lookup", "--follow", "-v", "-c", "1") as session:
            a.send("va", gre_packet(A, B))
            assert session.wait() == 0
        text = session.stdout
        assert "-> no tunnel; nearest gre1: its key is 1, the packet's none" in text
        passes = [line.split(", ")[1] for line in text.splitlines() if "gre bucket" in line]
        assert passes == ["exact:", "remote only:", "local only or multicast:", "key only:"]


def test_over_ipv6_too():
    with pair() as (a, b):
        for host, device, address in ((a, "va", "fd00::2"), (b, "vb", "fd00::1")):
            host.sysctl(f"net.ipv6.conf.{device}.disable_ipv6=0")
            host.ip(f"addr add {address}/64 dev {device} nodad")
        tunnel(b, "local fd00::1 remote fd00::2 key 5", kind="ip6gre", name="six")
        with follow(b) as session:
            for key in (5, None):
                a.send("va", ipv6("fd00::2", "fd00::1", 47, gre(bytes(40), key=key)))
            session.wait_for_records(2)
            session.stop()
        assert [(r["family"], r["tunnel"]) for r in session.records] == [(6, "six"), (6, None)]
        assert session.records[1]["candidates"][0]["mismatches"] == ["key"]


def test_a_lookup_is_answered_without_a_packet():
    with pair() as (_, b):
        tunnel_b(b, "key 1")
        for asked, expected in (((A, B, "--key", "1"), "gre1"), ((A, B), None)):
            done = gretrace(b, "lookup", *asked, "-o", "json")
            assert done.exit_code == 0, done.stderr
            (record,) = done.records
            assert (record["tunnel"], record["time"], record["iif"]) == (expected, None, "vb")
        done = gretrace(b, "lookup", NAT, B, "--key", "1")
        assert "no tunnel takes it" in done.stdout
        assert "nearest gre1" in done.stdout
        assert f"its remote is {A}" in done.stdout


def test_a_table_from_a_file_answers_like_the_live_one(tmp_path):
    with pair() as (_, b):
        tunnel_b(b, "key 1")
        tunnel(b, "local any remote any key 9", name="gre9", up=False)
        ours, theirs = tmp_path / "ours.json", tmp_path / "theirs.json"
        ours.write_text(gretrace(b, "tunnels", "-o", "json").stdout)
        theirs.write_text(b.run("ip", "-d", "-j", "link", "show").stdout)
        for asked in ((A, B, "--key", "1"), (A, B), (NAT, B, "--key", "9")):
            live = gretrace(b, "lookup", *asked, "-o", "json").records[0]
            for path in (ours, theirs):
                read = gretrace(None, "lookup", *asked, "--tunnels", str(path), "-o", "json")
                assert read.exit_code == 0, read.stderr
                (record,) = read.records
                for name in ("tunnel", "pass", "candidates"):
                    assert record[name] == live[name], (path, asked)


# vyos/vyos-1x#5392: which of a keyless and a key 0 tunnel receives which packet.


def test_zero_key_beside_no_key_in_this_kernel():
    with hosts("a", "b") as (a, b):
        wire(a, "va", f"{A}/24", b, "vb", f"{B}/24")
        ends = {"both": f"local {B} remote {A}", "local": f"local {B}", "remote": f"remote {A}"}
        # One session for all: each start of one is the longest of it.
        with follow(b) as session:
            seen = 0
            for attributes in ends.values():
                for first, second in (("keyless", "zero"), ("zero", "keyless")):
                    for name in (first, second):
                        tunnel(b, attributes + (" key 0" if name == "zero" else ""), name=name)
                    a.send("va", gre_packet(A, B))
                    a.send("va", gre_packet(A, B, key=0))
                    session.wait_for_records(seen + 2)
                    records = session.records[seen:]
                    assert [r["tunnel"] for r in records] == ["keyless", "zero"]
                    assert [r["disagreement"] for r in records] == [None, None]
                    seen += 2
                    b.ip("link del keyless", "link del zero")
            # Without any endpoint the kernel takes them for one tunnel... or the value decides.
            tunnel(b, "local any remote any key 0", name="zero")
            a.send("va", gre_packet(A, B))
            session.wait_for_records(seen + 1)
            session.stop()
        assert json.dumps(session.records[seen]["tunnel"]) == '"zero"'
