# SPDX-License-Identifier: GPL-2.0-only
"""The hash tables: held against what others printed and saw, and against themselves."""

import random
import sys
from dataclasses import replace
from ipaddress import ip_address

import pytest

from gretrace.kernel.lookup import Mismatch, Pass, Query, Tables
from gretrace.kernel.lookup.hashes import (
    GOLDEN_RATIO_32,
    hash_address,
    hash_key,
    ip_tunnel_hash,
)
from gretrace.kernel.lookup.near import _rank, mismatches
from gretrace.kernel.lookup.terms import Candidate
from tests.unit.cases import A, B, tunnel

# The multiplier of the kernels before v4.7, with which the logs below were printed.
OLD_GOLDEN_RATIO_32 = 0x9E370001
TEB, ERSPAN, ERSPAN2 = 0x6558, 0x88BE, 0x22EB


@pytest.mark.skipif(sys.byteorder == "big", reason="the logs are of a little-endian machine")
@pytest.mark.parametrize(
    ("key", "remote", "printed", "today"),
    [
        # ip_tunnel_hash(33554432, 33620244)-1>hash:73, the tunnel between direct neighbours
        (2, A, 73, 121),
        # ip_tunnel_hash(16777216, 33620244)-1>hash:75, the tunnel across the NAT router
        (1, A, 75, 99),
        # ip_tunnel_hash(33620244, 0)-2>hash:0, where the key was hashed: the label is wrong
        (1, None, 0, 35),
    ],
)
def test_the_hashes_are_those_that_a_kernel_printed(key, remote, printed, today):
    address = int(ip_address(remote)) if remote else 0
    assert ip_tunnel_hash(key, address, OLD_GOLDEN_RATIO_32) == printed
    assert ip_tunnel_hash(key, address) == today
    assert GOLDEN_RATIO_32 == 0x61C88647


@pytest.mark.skipif(sys.byteorder == "big", reason="computed on a little-endian machine")
def test_the_hashes_over_ipv6_are_those_of_the_kernels_macros():
    """By HASH_KEY() and HASH_ADDR() as they are in C, compiled."""
    assert [hash_key(key) for key in (1, 0x01020304, 0xFEDCBA98, 0x02000013)] == [0, 1, 17, 2]
    addresses = ("fd00::2", "fd00::1", "2001:db8:1:2:3:4:5:6", "fe80::1234:56ff:fe78:9abc")
    assert [hash_address(ip_address(address)) for address in addresses] == [6, 29, 24, 8]


def test_over_ipv6_a_bucket_belongs_to_one_table():
    """The passes go through four tables, and meet a tunnel in the one for what it is given."""
    ends = {
        Pass.EXACT: {},
        Pass.REMOTE: {"local": None},
        Pass.LOCAL: {"remote": None},
        Pass.KEY: {"local": None, "remote": None},
    }
    for expected, given in ends.items():
        tables = Tables([six(**given, key=0x02000013)])
        walk = tables.walk(Query(ip_address(SIX_A), ip_address(SIX_B), 0x02000013, 0x86DD))
        assert [s.decided_by for s in walk.steps if s.met] == [expected]
        assert len({s.bucket for s in walk.steps}) == len(walk.steps)
        assert {s.bucket >> 5 for s in walk.steps} <= {3, 2, 1, 0}


def test_the_two_printed_lookups_go_the_printed_way():
    """Of the direct one and of the one across the NAT router, the passes and their outcome."""
    gre0 = tunnel("gre0", local=None, remote=None, ifindex=2, fallback=True, up=False)
    gre2 = tunnel("gre2", key=2, ifindex=9, link=3)
    walk = Tables([gre0, gre2]).walk(Query(ip_address(A), ip_address(B), 2, 0x0800, link=3))
    (step,) = walk.steps
    assert [c.tunnel.name for c in step.met] == ["gre2"]
    assert (walk.match.tunnel, walk.match.decided_by) == (gre2, Pass.EXACT)

    gre1 = tunnel("gre1", remote="10.1.1.2", key=1, ifindex=9, link=3)
    walk = Tables([gre0, gre1]).walk(Query(ip_address(A), ip_address(B), 1, 0x0800, link=3))
    assert walk.match is None
    assert [step.decided_by for step in walk.steps] == list(Tables([])._table("gre", 4).PASSES)
    assert walk.steps[0].met == ()
    # gre0 was met there because key 1 hashed to 0 in those days, as no key does; no more.
    assert ip_tunnel_hash(1, 0, OLD_GOLDEN_RATIO_32) == ip_tunnel_hash(0, 0, OLD_GOLDEN_RATIO_32)
    assert walk.steps[2].met == ()


# vyos/vyos-1x#5392, measured on Linux 6.18: a keyless tunnel and one of key 0 that share what
# is given; either may be the one with the endpoint, in both orders of creation.
ENDPOINTS = [{"local": B, "remote": None}, {"local": None, "remote": A}]
ANYWHERE = {"local": None, "remote": None}


@pytest.mark.parametrize("keyless_first", [True, False])
@pytest.mark.parametrize("with_endpoint", ["keyless", "zero"])
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_zero_key_beside_no_key_where_one_has_an_endpoint(endpoint, with_endpoint, keyless_first):
    ends = {name: endpoint if name == with_endpoint else ANYWHERE for name in ("keyless", "zero")}
    keyless = tunnel("keyless", **ends["keyless"], ifindex=10 if keyless_first else 11)
    zero = tunnel("zero", **ends["zero"], key=0, ifindex=11 if keyless_first else 10)
    for key, expected in ((None, "keyless"), (0, "zero")):
        chosen = _names(Tables([keyless, zero]), key)
        # Without an endpoint the value alone decides, so each can be the other's stand-in.
        assert chosen == expected


def _names(tables, key, protocol=0x0800, **more):
    match = tables.lookup(Query(ip_address(A), ip_address(B), key, protocol, **more))
    return match and match.tunnel.name


@pytest.mark.parametrize("ends", [{}, *ENDPOINTS])
@pytest.mark.parametrize("kind", ["gre", "gretap"])
def test_zero_key_beside_no_key_with_the_same_endpoints(ends, kind):
    protocol = TEB if kind == "gretap" else 0x0800
    for order in ((10, 11), (11, 10)):
        keyless = tunnel("keyless", kind=kind, ifindex=order[0], **ends)
        zero = tunnel("zero", kind=kind, key=0, ifindex=order[1], **ends)
        tables = Tables([keyless, zero])
        assert _names(tables, None, protocol) == "keyless"
        assert _names(tables, 0, protocol) == "zero"


def test_a_key_without_its_flag_hides_a_tunnel():
    assert _names(Tables([tunnel("hidden", stray_ikey=5)]), None) is None
    assert _names(Tables([tunnel("hidden", stray_ikey=5)]), 5) is None
    # Between any and any the value is all that counts.
    anywhere = tunnel("anywhere", **ANYWHERE, stray_ikey=5)
    assert _names(Tables([anywhere]), 5) == "anywhere"


def test_erspan_has_a_table_of_its_own_and_type_1_takes_any_key():
    one = tunnel("erspan1", kind="erspan", key=7)
    assert _names(Tables([one]), 7, ERSPAN2) == "erspan1"
    assert _names(Tables([one, tunnel()]), None, ERSPAN) is None
    anywhere = tunnel("anywhere", kind="erspan", **ANYWHERE)
    assert _names(Tables([anywhere]), None, ERSPAN) == "anywhere"


SIX_A, SIX_B, GROUP = "fd00::2", "fd00::1", "ff05::1"


def six(name="six", *, local=SIX_B, remote=SIX_A, kind="ip6gre", **more):
    return tunnel(name, local=local, remote=remote, kind=kind, **more)


def six_names(tunnels, *, key=None, remote=SIX_A, local=SIX_B, protocol=0x86DD, link=7):
    asked = Query(ip_address(remote), ip_address(local), key, protocol, link)
    match = Tables(tunnels).lookup(asked)
    return match and match.tunnel.name


def test_over_ipv6_key_0_and_no_key_are_the_same():
    for ours in (None, 0):
        for theirs in (None, 0):
            assert six_names([six(key=ours)], key=theirs) == "six"
    assert six_names([six(key=1)]) is None
    assert six_names([six(key=1)], key=1) == "six"


def test_over_ipv6_a_frame_prefers_gretap_and_is_taken_by_gre_all_the_same():
    tap, plain = six("tap", kind="ip6gretap", ifindex=10), six("plain", ifindex=11)
    assert six_names([tap, plain], protocol=TEB) == "tap"
    assert six_names([plain], protocol=TEB) == "plain"
    assert six_names([tap], protocol=0x0800) is None
    # A bound one of a later pass beats a better type of an earlier one only by its score.
    bound = six("bound", local=None, link=7)
    assert six_names([tap, bound], protocol=TEB) == "tap"
    assert six_names([plain, bound], protocol=0x86DD) == "bound"


def test_over_ipv6_a_multicast_tunnel_without_local_takes_everything():
    assert six_names([six("group", local=None, remote=GROUP)]) == "group"
    assert six_names([six("group", remote=GROUP)]) == "group"
    assert six_names([six("group", remote=GROUP)], local=SIX_A) is None
    assert six_names([six("group", remote=GROUP)], local=GROUP) == "group"


def test_over_ipv6_erspan_has_a_collect_md_tunnel_of_its_own():
    plain = six("plain", local=None, remote=None, external=True, ifindex=10)
    spanned = six("span", local=None, remote=None, external=True, kind="ip6erspan", ifindex=11)
    assert six_names([plain, spanned], key=5) == "plain"
    assert six_names([plain, spanned], key=5, protocol=ERSPAN2) == "span"


# --- against itself: what is kept ready, and what the kernel's own way would find ----


def random_tunnels(rng, version, count):
    addresses = (A, B, "20.1.1.9", "239.1.1.1", None)
    if version == 6:
        addresses = (SIX_A, SIX_B, "fd00::9", GROUP, None)
    kinds = ("gre", "gretap", "erspan") if version == 4 else ("ip6gre", "ip6gretap", "ip6erspan")
    keys = (None, None, 0, 1, 2)
    seen, made = set(), []
    for ifindex in range(10, 10 + count):
        key = rng.choice(keys)
        stray = rng.choice((0, 0, 1)) if key is None else 0
        ends = (rng.choice((*addresses[:3], None)), rng.choice(addresses))
        kind, link = rng.choice(kinds), rng.choice((0, 7, 8))
        # The kernel lets no two be alike.
        alike = (kind, *ends, key, stray, link)
        if alike in seen:
            continue
        seen.add(alike)
        made.append(
            tunnel(
                f"t{ifindex}",
                local=ends[0],
                remote=ends[1],
                key=key,
                kind=kind,
                ifindex=ifindex,
                link=link,
                stray_ikey=stray,
                up=rng.random() < 0.9,
            )
        )
    return made


def random_query(rng, version):
    addresses = (A, B, "20.1.1.9", "239.1.1.1") if version == 4 else (SIX_A, SIX_B, "x", GROUP)
    addresses = ["fd00::9" if a == "x" else a for a in addresses]
    return Query(
        ip_address(rng.choice(addresses[:3])),
        ip_address(rng.choice(addresses)),
        rng.choice((None, 0, 1, 2)),
        rng.choice((0x0800, TEB, ERSPAN, ERSPAN2)),
        rng.choice((7, 8, 9)),
    )


@pytest.mark.parametrize("version", [4, 6])
def test_what_is_kept_ready_is_what_the_walk_meets(version):
    """Every tunnel that a walk passes as fitting, and no other, is what the lookup chose among."""
    rng = random.Random(version)
    for _ in range(300):
        tables = Tables(random_tunnels(rng, version, rng.randrange(1, 40)))
        for _ in range(10):
            asked = random_query(rng, version)
            walk = tables.walk(asked)
            fitting = [
                (step.decided_by, met.tunnel.name)
                for step in walk.steps
                for met in step.met
                if not met.mismatches
            ]
            if walk.match is None:
                assert not fitting, (asked, tables.tunnels)
            elif walk.match.decided_by in (Pass.COLLECT_MD, Pass.FALLBACK):
                assert not fitting
            else:
                assert (walk.match.decided_by, walk.match.tunnel.name) in fitting
                bound = [
                    (step.decided_by, met.tunnel.name)
                    for step in walk.steps
                    for met in step.met
                    if not met.mismatches and tables._asked(asked)[0]._score(met.tunnel, asked) == 0
                ]
                # Nothing comes after a tunnel that is bound to the packet's device.
                assert bound in ([], fitting[-1:])


@pytest.mark.parametrize("version", [4, 6])
def test_the_nearest_are_the_nearest_of_all(version):
    rng = random.Random(version)
    for _ in range(100):
        tunnels = random_tunnels(rng, version, 120)
        asked = random_query(rng, version)
        ranked = sorted((Candidate(t, tuple(mismatches(t, asked))) for t in tunnels), key=_rank)
        found = Tables(tunnels).candidates(asked)
        assert [_rank(c)[:2] for c in found] == [_rank(c)[:2] for c in ranked[: len(found)]]
        assert len(found) == min(len(tunnels), 32)


def test_a_remembered_answer_is_the_same_answer():
    tables = Tables([tunnel()])
    asked = Query(ip_address(A), ip_address(B), None, 0x0800)
    assert tables.lookup(asked) is tables.lookup(asked)
    assert tables.lookup(replace(asked, key=1)) is None
    assert tables.candidates(replace(asked, key=1))[0].mismatches == (Mismatch.KEY,)
