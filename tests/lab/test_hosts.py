# SPDX-License-Identifier: GPL-2.0-only
"""The lab's own tools: what they do for a test, and what a test is told that fails."""

import os
from contextlib import suppress
from pathlib import Path

import pytest

from gretrace.host.namespaces import NAMED
from tests.frames import gre_packet
from tests.lab import journal
from tests.lab.bystander import beside
from tests.lab.conftest import DROPS
from tests.lab.hosts import INNER_B, A, B, hosts, pair, tunnel_a, tunnel_b
from tests.lab.session import explain_drop


def test_what_ip_refuses_is_told_with_its_line():
    with hosts("a") as (a,):
        with pytest.raises(AssertionError, match="line 2, 'link set nope up': Cannot find device"):
            a.ip("link add x type dummy", "link set nope up", "link add y type dummy")
        # Some mistakes end ip itself; it is started again.
        with pytest.raises(AssertionError, match=r"line 1, 'link set x mtu many': .*mtu"):
            a.ip("link set x mtu many", "link del x")
        shown = a.ip("link show type dummy")
        assert [line.split(":")[1].strip() for line in shown.splitlines()[::2]] == ["x", "y"]


def test_what_ip_shows_is_whole():
    with hosts("a") as (a,):
        a.ip(*(f"link add d{number} type dummy" for number in range(400)))
        names = [line.split(": ")[1] for line in a.ip("link show").splitlines()[::2]]
        # Older kernels show devices by the hash of their number.
        assert len(names) == len(set(names))
        assert {"lo", *(f"d{number}" for number in range(400))} <= set(names)


def test_a_ping_tells_whether_it_was_answered():
    with pair() as (a, b):
        tunnel_a(a, "key 1")
        tunnel_b(b, "key 1")
        assert a.ping(B, count=2)
        assert a.ping(INNER_B, size=4000)
        assert not a.ping("20.1.1.9", patience=0.1)
        b.ip("link set gre1 down")
        assert not a.ping(INNER_B, patience=0.1)


def test_a_count_that_grows_is_not_quiet():
    wrong, other = gre_packet(A, B, key=2), gre_packet(A, B, key=3)
    with pair() as (a, b):
        tunnel_b(b, "key 1")
        for sent in ([wrong], [other], []):
            with explain_drop(b) as session:
                a.send("va", wrong)
                session.wait_for_packets(1)
                if sent:
                    with pytest.raises(AssertionError, match="reported meanwhile"), session.quiet():
                        a.send("va", sent[0])
                else:
                    with session.quiet():
                        a.send("va", gre_packet(A, B, key=1))


def children():
    """The programs that this process has started and that still run."""
    listed = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return {Path(f"/proc/{pid}/comm").read_text().strip() for pid in listed}


def test_nothing_is_left_of_a_test_that_fails():
    with hosts():
        before = set(NAMED.iterdir()), children()
    with suppress(ZeroDivisionError), pair() as (a, b):
        b.send("vb", gre_packet(B, A))
        with explain_drop(a):
            assert len(children()) > len(before[1])
            1 / 0  # noqa: B018 - as a test fails
    assert (set(NAMED.iterdir()), children()) == before


def test_what_is_told_of_a_test_that_fails(request):
    with pair() as (a, b):
        tunnel_b(b, "key 1")
        with explain_drop(b) as session:
            a.send("va", gre_packet(A, B, key=2), times=3)
            session.wait_for_packets(3)
        b.shell("echo what it says; exit 0")
        told = journal.told(0)
        for words in (
            f"{b.name}# ip -n {b.name} link add gre1 type gre",
            f"{a.name}# send by va, 3 times",
            f"{b.name}# gretrace explain-drop -o json",
            '"cause": "key-mismatch"',
            "gretrace: ready",
            "| what it says",
        ):
            assert words in told
        places = request.config.stash[DROPS].told()
        (ours,) = [line for line in places.splitlines() if " gre_rcv" in line]
        assert ours.split()[0] == "3"
    # It is told as long as the test goes on, and no longer.
    assert a.name in journal.told(0)
    journal.begin_test()
    assert a.name not in journal.told(0)


def test_what_is_advised_and_stops_a_tunnel_beside_is_noticed():
    with pair() as (a, b):
        with pytest.raises(AssertionError, match="has stopped"), beside(a, b, patience=1):
            b.shell("ip link del by0")
        a.ip("link del by0")
        b.ip("link set vb down")
        # What did not work before is not asked for.
        with beside(a, b):
            pass
