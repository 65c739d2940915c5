# SPDX-License-Identifier: GPL-2.0-only
"""The tunnel between two subnets: the router on the way puts its own address in."""

from contextlib import contextmanager

from tests.lab.bystander import beside
from tests.lab.hosts import INNER_A, INNER_B, hosts, tunnel, wire
from tests.lab.recorded import recorded
from tests.lab.session import explain_drop

A, B = "40.1.1.2", "30.1.1.2"
ROUTER_A, ROUTER_B = "40.1.1.1", "30.1.1.1"
NAT = (
    "table ip nat { chain out { type nat hook postrouting priority srcnat; "
    "ip protocol gre ip saddr 40.1.1.0/24 oifname rb snat to 30.1.1.1; }; }"
)


@contextmanager
def routed(*, nat):
    """A and B with a router between them; both have a tunnel with key 1 to the other."""
    with hosts("a", "r", "b") as (a, r, b):
        wire(a, "va", f"{A}/24", r, "ra", f"{ROUTER_A}/24")
        wire(r, "rb", f"{ROUTER_B}/24", b, "vb", f"{B}/24")
        a.ip(f"route add default via {ROUTER_A}")
        b.ip(f"route add default via {ROUTER_B}")
        r.sysctl("net.ipv4.ip_forward=1")
        if nat:
            r.run("nft", NAT)
        tunnel(a, f"local {A} remote {B} ikey 1 okey 1", address=INNER_A)
        tunnel(b, f"local {B} remote {A} ikey 1 okey 1", address=INNER_B)
        yield a, r, b


def test_without_nat_nothing_is_reported():
    with routed(nat=False) as (a, _, b), explain_drop(b) as session:
        assert a.ping(INNER_B, count=3)
        assert session.stop() == 0, session.stdout


def test_nat_is_named_and_its_fix_mends():
    with (
        routed(nat=True) as (a, r, b),
        beside(r, b, there="30.1.1.9", here=B, device="rb"),
        recorded(b) as capture,
        explain_drop(b) as session,
    ):
        # A begins: had B begun, the router would let A's packets pass as answers.
        a.send_pings(INNER_B, count=3)
        session.wait_for_packets(3)
        b.send_pings(INNER_A)
        a.send_pings(INNER_B)
        session.wait_for_packets(4)
        capture.agrees_with(session.reports)
        assert session.stop() == 3
        (report,) = session.reports
        assert report["cause"] == "nat-remote"
        assert (report["remote"], report["local"], report["key"]) == (ROUTER_B, B, 1)
        assert report["tunnel"] == "gre1"
        assert A in report["summary"]
        assert ROUTER_B in report["summary"]
        assert any("never received" in line for line in report["evidence"])
        assert [fix["where"] for fix in report["fix"]] == ["here", "path", "peer"]
        b.shell(report["fix"][0]["command"])
        assert a.ping(INNER_B, count=2)


def test_a_stranger_is_no_nat_while_the_tunnel_hears_its_peer():
    with routed(nat=False) as (a, r, b):
        assert a.ping(INNER_B)
        with recorded(b) as capture, explain_drop(b) as session:
            assert a.ping(INNER_B)
            tunnel(r, f"local {ROUTER_B} remote {B} ikey 1 okey 1", address="10.10.10.3")
            r.send_pings(INNER_B, device="gre1")
            session.wait_for_packets(1)
            capture.agrees_with(session.reports)
            assert session.stop() == 3
            (report,) = session.reports
            assert report["cause"] == "no-tunnel"
            assert report["tunnel"] is None
            assert any("differs in its remote" in line for line in report["evidence"])


def test_a_tunnel_that_fell_silent_is_the_one():
    with routed(nat=False) as (a, r, b):
        assert a.ping(INNER_B)
        r.run("nft", NAT)
        with recorded(b) as capture, explain_drop(b) as session:
            a.send_pings(INNER_B)
            session.wait_for_packets(1)
            capture.agrees_with(session.reports)
            session.stop()
            assert {report["cause"] for report in session.reports} == {"nat-remote"}
