# SPDX-License-Identifier: GPL-2.0-only
"""What is watched: namespaces, filters, and tunnels that change meanwhile."""

import pytest

from tests.frames import gre_packet
from tests.lab.hosts import INNER_B, A, B, pair, tunnel_a, tunnel_b
from tests.lab.session import explain_drop


def test_other_namespaces_do_not_leak():
    with pair() as (a, b), pair() as (c, d):
        tunnel_b(b, "key 1")
        tunnel_b(d, "key 1")
        with explain_drop(b) as of_b, explain_drop(None, "--netns", d.name) as of_d:
            with explain_drop(None, "--all-netns") as of_all:
                a.send("va", gre_packet(A, B, key=2), times=3)
                c.send("va", gre_packet(A, B, key=3), times=4)
                of_all.wait_for_packets(7)
                of_b.wait_for_packets(3)
                of_d.wait_for_packets(4)
                for session in (of_all, of_b, of_d):
                    assert session.stop() == 3
                counts = {r["netns"]: (r["key"], r["count"]) for r in of_all.reports}
                assert counts == {b.namespace.inode: (2, 3), d.namespace.inode: (3, 4)}
            assert [(r["key"], r["count"]) for r in of_b.reports] == [(2, 3)]
            assert [(r["key"], r["count"]) for r in of_d.reports] == [(3, 4)]
            # The command must act in that namespace, from where the user stands.
            assert of_d.reports[0]["fix"][0]["command"].startswith(f"ip -n {d.name} link change")
            assert of_b.reports[0]["fix"][0]["command"].startswith("ip link change")


FILTERS = {
    "remote": (["--remote", "20.1.1.9"], {("20.1.1.9", 2)}),
    "local": (["--local", "20.1.1.3"], {("20.1.1.8", 2)}),
    "key": (["--key", "0.0.0.5"], {(A, 5)}),
    "no key": (["--key", "none"], {(A, None)}),
    "key and remote": (["--key", "0x2", "--remote", A], {(A, 2)}),
    "iif": (["--iif", "lo"], set()),
}


def test_filters_admit_what_they_say():
    with pair() as (a, b):
        b.ip("addr add 20.1.1.3/24 dev vb")
        packets = [
            gre_packet(A, B, key=2),
            gre_packet(A, B, key=5),
            gre_packet(A, B),
            gre_packet("20.1.1.9", B, key=2),
            gre_packet("20.1.1.8", "20.1.1.3", key=2),
        ]
        for options, expected in FILTERS.values():
            with explain_drop(b, *options) as session:
                for packet in packets:
                    a.send("va", packet)
                session.wait_for_packets(len(expected))
                session.stop()
                seen = {(r["remote"], r["key"]) for r in session.reports}
                assert seen == expected, options


def test_a_tunnel_that_changes_changes_the_next_verdict():
    with pair() as (a, b):
        tunnel_b(b, "key 1")
        packet = gre_packet(A, B, key=2)
        with explain_drop(b) as session:
            a.send("va", packet, times=2)
            session.wait_for_packets(2)
            b.ip(
                "link set gre1 type gre local 20.1.1.1 remote 20.1.1.2 key 2", "link set gre1 down"
            )
            a.send("va", packet, times=3)
            session.wait_for_packets(5)
            b.ip("link del gre1")
            a.send("va", packet, times=4)
            session.wait_for_packets(9)
            session.stop()
            causes = [(r["cause"], r["tunnel"], r["count"]) for r in session.reports]
            assert causes == [
                ("key-mismatch", "gre1", 2),
                ("tunnel-down", "gre1", 3),
                ("no-tunnel", None, 4),
            ]


def test_the_nearest_tunnel_is_named_and_the_other_is_in_the_evidence():
    with pair() as (a, b):
        tunnel_b(b, "key 1")
        b.ip("link add gre2 type gre local 20.1.1.1 remote 20.1.1.77 key 2", "link set gre2 up")
        with explain_drop(b) as session:
            a.send("va", gre_packet(A, B, key=2))
            session.wait_for_packets(1)
            session.stop()
            (report,) = session.reports
            assert (report["cause"], report["tunnel"]) == ("key-mismatch", "gre1")
            assert any("by its remote: gre2" in line for line in report["evidence"])
            assert report["confidence"] == "likely"


def test_text_is_what_a_person_reads():
    with pair() as (a, b):
        tunnel_a(a, "key 2")
        tunnel_b(b, "key 1")
        with explain_drop(b, "--duration", "6", output="table") as session:
            a.send_pings(INNER_B, count=3)
            assert session.wait() == 3
            text = session.stdout
            assert "DROP key-mismatch gre1" in text
            assert "died    vb -> gre_rcv -> parse -> lookup x" in text
            assert "ip link change dev gre1 type gre local 20.1.1.1 remote 20.1.1.2" in text
            assert text.splitlines()[-1].split()[:3] == ["3", "key-mismatch", "gre1"]
            assert "\x1b" not in text


@pytest.mark.parametrize("color", ["always", "never"])
def test_color_is_by_choice(color):
    with pair() as (a, b), explain_drop(b, "--color", color, "-c", "1", output="table") as session:
        a.send("va", gre_packet(A, B))
        session.wait()
        assert ("\x1b[1;31mDROP" in session.stdout) == (color == "always")


def test_a_tunnel_in_use_is_left_alone_while_its_missing_neighbour_is_named():
    with pair() as (a, b):
        tunnel_a(a, "key 1")
        tunnel_b(b, "key 1")
        with explain_drop(b) as session:
            assert a.ping(INNER_B)
            a.send("va", gre_packet(A, B, key=3))
            session.wait_for_packets(1)
            session.stop()
            (report,) = session.reports
            assert (report["cause"], report["confidence"]) == ("key-mismatch", "likely")
            b.shell(report["fix"][0]["command"])
        assert a.ping(INNER_B)
        a.send("va", gre_packet(A, B, key=3))
        assert b.received("gre2") == 1
