# SPDX-License-Identifier: GPL-2.0-only
"""What is said at the end, or in the beginning, of what no drop tells."""

from tests.frames import gre_packet, udp
from tests.lab.bystander import beside
from tests.lab.hosts import INNER_A, INNER_B, A, B, pair, tunnel_b
from tests.lab.session import explain_drop
from tests.lab.test_delivery import compile_program

SENT = 3
PASSING = """
__attribute__((section("xdp"))) int pass(void *context) { return 2; }
char _license[] __attribute__((section("license"))) = "";
"""


def test_the_fallback_took_what_a_tunnel_that_is_down_should_have():
    packet = gre_packet(A, B, udp(INNER_A, INNER_B))
    with pair() as (a, b):
        tunnel_b(b, up=False)
        b.ip("link set gre0 up", f"addr add {INNER_B}/32 dev lo")
        with beside(a, b), explain_drop(b) as session:
            a.send("va", packet, times=SENT)
            while b.received("gre0") < SENT:
                pass
            assert session.stop() == 3
        (report,) = session.reports
        assert (report["cause"], report["count"]) == ("fallback-taken", SENT)
        assert (report["tunnel"], report["iif"]) == ("gre1", "gre0")
        assert "gre1 is down" in report["summary"]
        b.shell(report["fix"][0]["command"])
        before = b.received("gre1")
        with explain_drop(b) as session:
            a.send("va", packet, times=SENT)
            assert session.stop() == 0, session.stdout
        assert b.received("gre1") == before + SENT


def test_a_tunnel_is_judged_alike_alone_and_among_all():
    """It has heard its peer before anybody watched."""
    stray = gre_packet(A, B, key=7)
    same = ("cause", "tunnel", "confidence", "summary", "remote", "local", "key", "count")
    with pair() as (a, b):
        tunnel_b(b, "key 1")
        a.send("va", gre_packet(A, B, key=1))
        with explain_drop(b) as alone, explain_drop(None, "--all-netns") as among_all:
            a.send("va", stray, times=SENT)
            for session in (alone, among_all):
                session.wait_for_packets(SENT)
                session.stop()
        (one,) = alone.reports
        (other,) = (r for r in among_all.reports if r["netns"] == b.namespace.inode)
        assert [one[name] for name in same] == [other[name] for name in same]
        commands = [
            [fix["command"] and fix["command"].replace(f"-n {b.name} ", "") for fix in told["fix"]]
            for told in (one, other)
        ]
        assert commands[0] == commands[1]


def test_what_native_xdp_may_drop_is_said(tmp_path):
    program = tmp_path / "pass.o"
    with pair() as (_, b):
        compile_program(b, PASSING, program)
        b.ip(f"link set vb xdpdrv object {program} section xdp")
        with explain_drop(b) as session:
            session.wait_for_text("native XDP on vb may drop GRE unseen")
            assert session.stop() == 0
