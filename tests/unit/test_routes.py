# SPDX-License-Identifier: GPL-2.0-only
"""What the kernel says of a way, as pyroute2 shows it."""

from ipaddress import ip_address

import pytest

from gretrace.host.routes import ask_route
from gretrace.model import Metadata

# RTA_ENCAP as 6.18 wrote it for `encap ip id 7 dst 99.1.1.1 src 99.1.1.9` and `encap ip6 id 7
# dst fd99::1`; flags are those of `key csum`.
ID = "0c:00:01:00:00:00:00:00:00:00:00:07"
DST, SRC = "08:00:02:00:63:01:01:01", "08:00:03:00:63:01:01:09"
FLAGS = "06:00:06:00:00:05:00:00"
TTL = "05:00:05:00:00:00:00:00"
DST6 = "14:00:02:00:fd:99:00:00:00:00:00:00:00:00:00:00:00:00:00:01"
SRC6 = "14:00:03:00:" + ":".join(["00"] * 16)
THERE, HERE, THERE6 = (ip_address(text) for text in ("99.1.1.1", "99.1.1.9", "fd99::1"))


class Message(dict):
    """A route as netlink tells it."""

    def get_attr(self, name):
        return self.get(name)


class Netlink:
    def __init__(self, **attributes):
        self._message = Message(type=1, **attributes)

    def route(self, *_, **__):
        return [self._message]


@pytest.mark.parametrize(
    ("kind", "told", "metadata"),
    [
        (2, [ID, DST, SRC, TTL], Metadata(THERE, HERE)),
        (2, [DST, TTL, FLAGS], Metadata(THERE, has_key=True, has_checksum=True)),
        (4, [ID, DST6, SRC6], Metadata(THERE6)),
        (2, [ID], None),  # it says no remote
        (2, [DST, "02:00:03:00"], Metadata(THERE)),  # shorter than it can be
        (1, ["00:01:f0:00"], None),  # MPLS
        (None, None, None),
    ],
)
def test_what_a_route_tells_an_external_tunnel(kind, told, metadata):
    netlink = Netlink(RTA_ENCAP=told and ":".join(told), RTA_ENCAP_TYPE=kind)
    assert ask_route(netlink, {}, ip_address("10.0.0.1")).metadata == metadata
