# SPDX-License-Identifier: GPL-2.0-only
from ipaddress import ip_address

from gretrace.engine.contract import FilterMatch
from gretrace.engine.wanted import Wanted
from gretrace.model import Tuple

A, B = ip_address("20.1.1.2"), ip_address("20.1.1.1")


def test_nothing_wanted_matches_all():
    assert Wanted().to_record().match == 0


def test_every_wish_becomes_a_bit_and_a_value():
    record = Wanted(remote=A, local=B, key=0, ifindex=3, netns=9).to_record()
    bits = FilterMatch.REMOTE | FilterMatch.LOCAL | FilterMatch.KEY
    assert record.match == bits | FilterMatch.IFINDEX | FilterMatch.NETNS
    assert bytes(record.remote) == A.packed + bytes(12)
    assert bytes(record.local) == B.packed + bytes(12)
    assert (record.gre_key, record.ifindex, record.netns) == (0, 3, 9)
    assert Wanted(no_key=True).to_record().match == FilterMatch.NO_KEY


def test_ipv6_addresses_fill_the_record():
    address = ip_address("fd00::2")
    assert bytes(Wanted(remote=address).to_record().remote) == address.packed


def test_admitting_by_a_known_tuple():
    seen = Tuple(4, A, B, 5, ("key",), 0x0800)
    assert Wanted().admits(seen)
    assert Wanted(remote=A, local=B, key=5).admits(seen)
    for other in (Wanted(remote=B), Wanted(local=A), Wanted(key=0), Wanted(no_key=True)):
        assert not other.admits(seen)
