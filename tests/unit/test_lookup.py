# SPDX-License-Identifier: GPL-2.0-only
"""The passes of ip_tunnel_lookup(), one by one; the lab holds them against the kernel."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from gretrace.kernel.lookup import Mismatch, Pass, Query, Tables
from tests.unit.cases import A, B, tunnel

TEB = 0x6558
OTHER = "20.1.1.99"


def query(*, key=None, remote=A, local=B, protocol=0x0800, link=7):
    return Query(ip_address(remote), ip_address(local), key, protocol, link)


def chosen(tunnels, asked):
    match = Tables(tunnels).lookup(asked)
    return (match.tunnel.name, match.decided_by) if match else None


EXACT = tunnel("exact")
REMOTE = tunnel("remote", local=None, ifindex=11)
LOCAL = tunnel("local", remote=None, ifindex=12)
FALLBACK = tunnel("gre0", local=None, remote=None, ifindex=2, fallback=True)
EXTERNAL = tunnel("ext", local=None, remote=None, ifindex=13, external=True)
ALL = [FALLBACK, EXTERNAL, LOCAL, REMOTE, EXACT]


def test_the_passes_come_in_the_kernels_order():
    expected = [
        ("exact", Pass.EXACT),
        ("remote", Pass.REMOTE),
        ("local", Pass.LOCAL),
        ("ext", Pass.COLLECT_MD),
        ("gre0", Pass.FALLBACK),
        None,
    ]
    keyed = [t if t.external or t.fallback else replace(t, ikey=5) for t in ALL]
    for answer in expected:
        assert chosen(keyed, query(key=5)) == answer
        if answer:
            keyed = [t for t in keyed if t.name != answer[0]]


def test_external_and_fallback_tunnels_are_any_to_any_with_key_0_as_well():
    assert chosen([FALLBACK, EXTERNAL], query()) == ("ext", Pass.KEY)
    assert chosen([FALLBACK], query(key=0)) == ("gre0", Pass.KEY)
    # Which is why gre0 comes before an external tunnel that is older than it in the bucket.
    older = replace(EXTERNAL, ifindex=1)
    assert chosen([FALLBACK, older], query()) == ("gre0", Pass.KEY)
    assert chosen([FALLBACK, older], query(key=5)) == ("ext", Pass.COLLECT_MD)


def test_keys_must_be_equal_and_no_key_equals_only_no_key():
    for ours, theirs, fits in [
        (1, 1, True),
        (1, 2, False),
        (1, None, False),
        (None, 1, False),
        (0, 0, True),
        (0, None, False),
        (None, 0, False),
        (None, None, True),
    ]:
        assert (chosen([tunnel(key=ours)], query(key=theirs)) is not None) == fits, (ours, theirs)


def test_between_any_and_any_key_0_and_no_key_are_the_same():
    for ours, theirs, fits in [(0, None, True), (None, 0, True), (5, 5, True), (5, None, False)]:
        anywhere = tunnel(local=None, remote=None, key=ours)
        assert (chosen([anywhere], query(key=theirs)) is not None) == fits, (ours, theirs)


def test_a_device_that_is_down_is_passed_by():
    assert chosen([tunnel(up=False)], query()) is None
    assert chosen([tunnel("down", up=False), REMOTE], query()) == ("remote", Pass.REMOTE)


def test_the_tunnel_bound_to_the_packets_device_is_preferred():
    bound = tunnel("bound", ifindex=20, link=7)
    unbound = tunnel("unbound", ifindex=21)
    assert chosen([bound, unbound], query(link=7)) == ("bound", Pass.EXACT)
    # One bound to another device is still better than none.
    assert chosen([bound], query(link=8)) == ("bound", Pass.EXACT)
    # A bound tunnel of a later pass wins over an unbound one of an earlier.
    assert chosen([unbound, tunnel("wild", local=None, link=7)], query(link=7))[0] == "wild"


def test_multicast_tunnels_are_met_in_the_third_pass():
    group = tunnel("group", remote="239.1.1.1")
    assert chosen([group], query(local="239.1.1.1")) == ("group", Pass.LOCAL)
    assert chosen([group], query()) is None


def test_frames_go_to_gretap_first_and_then_to_gre():
    tap = tunnel("tap", kind="gretap", ifindex=30)
    assert chosen([EXACT, tap], query(protocol=TEB)) == ("tap", Pass.EXACT)
    assert chosen([EXACT], query(protocol=TEB)) == ("exact", Pass.EXACT)
    assert chosen([tap], query()) is None


def mismatches(tunnels, asked):
    return {c.tunnel.name: set(c.mismatches) for c in Tables(tunnels).candidates(asked)}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, set()),
        ({"key": 1}, {Mismatch.KEY}),
        ({"remote": OTHER}, {Mismatch.REMOTE}),
        ({"local": OTHER}, {Mismatch.LOCAL}),
        ({"up": False}, {Mismatch.DOWN}),
        ({"kind": "gretap"}, {Mismatch.TYPE}),
        ({"key": 0, "remote": OTHER}, {Mismatch.KEY, Mismatch.REMOTE}),
        ({"local": None}, set()),
        ({"remote": None}, set()),
        ({"remote": "239.1.1.1"}, {Mismatch.REMOTE}),
        ({"external": True, "remote": None, "local": None, "up": False}, {Mismatch.DOWN}),
    ],
)
def test_mismatches_say_all_that_does_not_fit(changes, expected):
    assert mismatches([tunnel(**changes)], query()) == {"gre1": expected}


def test_the_nearest_comes_first_and_the_fallback_is_no_candidate():
    tunnels = [
        FALLBACK,
        tunnel("far", remote=OTHER, local=OTHER, key=5),
        tunnel("remote", remote=OTHER),
        tunnel("local", local=OTHER),
        tunnel("key", key=5),
        tunnel("down", up=False),
        tunnel("v6", local="fd00::1", remote="fd00::2", kind="ip6gre"),
    ]
    tunnels = [replace(t, ifindex=ifindex) for ifindex, t in enumerate(tunnels, start=2)]
    order = [c.tunnel.name for c in Tables(tunnels).candidates(query())]
    assert order == ["down", "key", "local", "remote", "far"]


@pytest.mark.parametrize("is_reversed", [False, True])
def test_one_mismatch_is_nearer_than_another_whatever_came_first(is_reversed):
    tunnels = [
        tunnel("down", up=False),
        tunnel("type", kind="gretap"),
        tunnel("key", key=5),
        tunnel("local", local=OTHER),
        tunnel("remote", remote=OTHER),
    ]
    order = [t.name for t in tunnels]
    made = enumerate(reversed(tunnels) if is_reversed else tunnels, start=2)
    found = Tables([replace(t, ifindex=ifindex) for ifindex, t in made]).candidates(query())
    assert [c.tunnel.name for c in found] == order


def test_of_two_that_are_as_near_the_one_that_names_more_comes_first():
    names = {"any local": {"local": None}, "any": {"local": None, "remote": None}, "both": {}}
    tunnels = [
        tunnel(name, **ends, key=5, ifindex=ifindex)
        for ifindex, (name, ends) in enumerate(names.items(), start=2)
    ]
    found = [c.tunnel.name for c in Tables(tunnels).candidates(query())]
    assert found == ["both", "any local", "any"]


@pytest.mark.parametrize("ends", [{"local": None}, {"remote": None}, {}])
def test_with_an_end_no_key_and_key_0_differ(ends):
    assert mismatches([tunnel(key=0, **ends)], query()) == {"gre1": {Mismatch.KEY}}
    anywhere = tunnel(key=0, local=None, remote=None)
    assert mismatches([anywhere], query()) == {"gre1": set()}


def test_over_ipv6_a_tunnel_without_key_is_near_to_key_0():
    ours = tunnel(kind="ip6gre", local="fd00::1", remote="fd00::2")
    others = [
        tunnel(f"other{n}", kind="ip6gre", local="fd00::1", remote=f"fd00::{n:x}", ifindex=n)
        for n in range(100, 140)
    ]
    asked = query(key=0, remote="fd00::2", local="fd00::1", protocol=0x86DD)
    found = Tables([*others, replace(ours, ifindex=200)]).candidates(asked)
    assert (found[0].tunnel.name, found[0].mismatches) == ("gre1", ())
