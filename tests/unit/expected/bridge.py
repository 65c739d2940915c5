# SPDX-License-Identifier: GPL-2.0-only
"""Cases of verdicts/bridge.py."""

from gretrace.model import BridgePort, Place
from tests.frames import udp
from tests.unit.cases import tunnel
from tests.unit.host import GRE1, FakeHost, on_tunnel

VLANS, FRAME = Place("br_allowed_ingress", "bridge"), Place("br_handle_frame", "bridge")
TAP = tunnel("gre1", ifindex=GRE1, kind="gretap")
PACKET = udp("10.1.1.2", "10.1.1.1")


def port(*, state=3, stp=False, filters=True, vlans=((1, 1), (20, 30)), pvid=1):
    return BridgePort("br0", state, stp, filters, vlans, pvid)


def switched(of, *, vlan=0, place=VLANS, **more):
    """A frame that gre1 handed to the bridge that it is a port of."""
    host = FakeHost(ports={GRE1: of} if of else {})
    return on_tunnel(PACKET, TAP, place=place, host=host, vlan=vlan, **more)


EXPECTED = {
    "bridge-refused": (switched(port(), vlan=10), "gre1"),
    "bridge-refused, no tag and no PVID": (switched(port(pvid=None)), "gre1"),
    "bridge-refused, a tag or none": (switched(port(pvid=None), vlan=25), "gre1"),
    "bridge-refused, no VLAN at all": (switched(port(vlans=(), pvid=None), vlan=25), "gre1"),
    "bridge-refused, the port is disabled": (switched(port(state=0), place=FRAME), "gre1"),
    "bridge-refused, the port is blocking": (
        switched(port(state=4, filters=False), place=FRAME, reason="BRIDGE_INGRESS_STP_STATE"),
        "gre1",
    ),
    "other, STP blocks the port": (switched(port(state=4, stp=True), place=FRAME), "gre1"),
    "other, the port forwards": (switched(port(), place=FRAME), "gre1"),
    "other, the VLAN is let in": (switched(port(), vlan=25), "gre1"),
    "other, without a tag it is of the PVID": (switched(port()), "gre1"),
    "other, the bridge filters no longer": (switched(port(filters=False), vlan=10), "gre1"),
    "other, it is no port any more": (switched(None, vlan=10), "gre1"),
}
