# SPDX-License-Identifier: GPL-2.0-only
"""A tunnel beside those of a test: whatever is advised about them, it works on."""

from contextlib import contextmanager

from tests.lab.hosts import B
from tests.lab.ping import PATIENCE

NEAR, FAR = "10.99.9.1", "10.99.9.2"
PEER = "20.1.1.254"


@contextmanager
def beside(peer, b, *, there=PEER, here=B, device="va", patience=PATIENCE):
    """Have a tunnel from B to another address of a peer's, and see that it works on to the end.

    What a test breaks may stop it as well, as a firewall does: where it does not work when the
    block begins, nothing is asked of it. In the block, what was yielded sees whether it works by
    then. No packet goes through it but when it is asked, and none of these is dropped.
    """
    peer.try_ip(f"addr add {there}/24 dev {device}")  # it may have it
    for host, ends, address in (
        (peer, f"local {there} remote {here}", FAR),
        (b, f"local {here} remote {there}", NEAR),
    ):
        host.ip(
            f"link add by0 type gre {ends} key 909 ttl 255",
            f"addr add {address}/30 dev by0",
            "link set by0 up",
        )
    has_worked = b.ping(FAR, patience=1)

    def see():
        assert not has_worked or b.ping(FAR, patience=patience), (
            "what was advised has stopped a tunnel that worked"
        )

    yield see
    see()
