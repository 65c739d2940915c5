# SPDX-License-Identifier: GPL-2.0-only
"""One record a kind: sizes as kernels gave them, and which kind a GRE protocol is for."""

from dataclasses import replace
from pathlib import Path

import pytest

from gretrace.host.tunnels_file import read_tunnels
from gretrace.kernel.kinds import (
    FALLBACKS,
    KINDS,
    default_mtu,
    erspan_version,
    largest_segment,
    mtu_that_fits,
    overhead,
    tables_of,
    unpacker_of,
)
from gretrace.model import ETH_P_ERSPAN, ETH_P_ERSPAN2, ETH_P_IP, ETH_P_TEB, Encap
from tests.unit.cases import tunnel

# What Linux 6.12 gave tunnels of all kinds, by `ip -d -j link show`.
SAMPLE = read_tunnels(str(Path(__file__).with_name("ip_link.json")))
OVER6 = {"local": "fd00::1", "remote": "fd00::2"}


@pytest.mark.parametrize("seen", SAMPLE, ids=lambda seen: seen.name)
def test_the_mtu_is_the_one_that_the_kernel_gave(seen):
    assert default_mtu(seen) == seen.mtu


# Read in tests/lab/test_kinds.py, too, of every kernel.
@pytest.mark.parametrize(
    ("more", "size"),
    [
        ({}, 24),
        ({"key": 0}, 28),
        ({"ikey": 1}, 24),
        ({"key": 1, "ocsum": True, "oseq": True}, 36),
        ({"kind": "gretap"}, 38),
        ({"kind": "erspan", "erspan_version": 0}, 38),
        ({"kind": "erspan", "key": 1, "oseq": True}, 50),
        ({"kind": "erspan", "key": 1, "oseq": True, "erspan_version": 2}, 54),
        ({"kind": "ip6gre", **OVER6}, 52),
        ({"kind": "ip6gre", "encap_limit": None, **OVER6}, 44),
        ({"kind": "ip6gretap", "key": 1, **OVER6}, 70),
        ({"kind": "ip6erspan", "key": 1, "oseq": True, **OVER6}, 78),
        ({"kind": "ip6erspan", "key": 1, "erspan_version": 2, **OVER6}, 82),
        ({"encap": Encap("fou")}, 32),
        ({"encap": Encap("gue")}, 36),
        ({"encap": Encap("gue", remcsum=True)}, 44),
    ],
)
def test_what_a_tunnel_puts_before_a_packet(more, size):
    assert overhead(tunnel(**more)) == size
    assert mtu_that_fits(9000, tunnel(**more)) == 9000 - size


def test_by_itself_no_tunnel_gets_less_than_its_ip_version_needs():
    assert default_mtu(tunnel(), 80) == 68
    assert default_mtu(tunnel(kind="ip6gre", **OVER6), 1300) == 1280
    assert mtu_that_fits(1300, tunnel(kind="ip6gre", **OVER6)) == 1248


def test_a_segment_leaves_room_for_both_headers():
    assert (largest_segment(1476, 4), largest_segment(1476, 6)) == (1436, 1416)


@pytest.mark.parametrize(
    ("family", "protocol", "kind", "tables"),
    [
        (4, ETH_P_IP, "gre", ("gre",)),
        (4, 0, "gre", ("gre",)),
        (4, ETH_P_TEB, "gretap", ("gretap", "gre")),
        (4, ETH_P_ERSPAN, "erspan", ("erspan",)),
        (4, ETH_P_ERSPAN2, "erspan", ("erspan",)),
        (6, ETH_P_IP, "ip6gre", ("ip6gre",)),
        (6, ETH_P_TEB, "ip6gretap", ("ip6gre",)),
        (6, ETH_P_ERSPAN, "ip6erspan", ("ip6gre",)),
    ],
)
def test_which_kind_unpacks_a_protocol_and_where_it_is_looked_for(family, protocol, kind, tables):
    assert unpacker_of(family, protocol).name == kind
    assert tables_of(family, protocol) == tables


def test_over_ipv6_any_kind_for_frames_takes_any_frame():
    takes = {name for name, kind in KINDS.items() if kind.carries(ETH_P_ERSPAN)}
    assert takes == {"erspan", "ip6gretap", "ip6erspan"}


def test_the_fallback_of_each_kind():
    assert {name: kind.fallback for name, kind in KINDS.items()} == {
        "gre": "gre0", "gretap": "gretap0", "erspan": "erspan0",
        "ip6gre": "ip6gre0", "ip6gretap": None, "ip6erspan": None,
    }  # fmt: skip


def test_the_version_of_erspan():
    assert [erspan_version(ETH_P_ERSPAN, key) for key in (None, 0, 5)] == [0, 1, 1]
    assert erspan_version(ETH_P_ERSPAN2, 0) == 2


def test_fallback_devices_are_those_of_the_kernel():
    found = {seen.name for seen in SAMPLE if seen.fallback}
    assert found | {"gretap0"} == set(FALLBACKS)


def test_a_version_that_is_not_known_counts_as_the_largest():
    odd = replace(tunnel(kind="erspan", key=1), erspan_version=9)
    assert overhead(odd) == 54
