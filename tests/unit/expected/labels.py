# SPDX-License-Identifier: GPL-2.0-only
"""Cases of verdicts/labels.py."""

from dataclasses import replace

from gretrace.model import Label, Place
from tests.unit.cases import tunnel
from tests.unit.host import GRE1, FakeHost, on_tunnel

FORWARD = Place("mpls_forward", "mpls_router")
CORE = Place("__netif_receive_skb_core")
OURS = tunnel("gre1", ifindex=GRE1)
INPUT, LABELS = "net.mpls.conf.gre1.input", "net.mpls.platform_labels"
ON = {INPUT: 1, LABELS: 200}
LOADABLE = {"mpls_router": "loadable"}


def carried(label=100, *, last=True, ours=OURS, place=FORWARD, settings=None, host=None, **more):
    """MPLS that gre1 delivered."""
    host = host or FakeHost(settings or {}, labels=())
    found = on_tunnel(b"", ours, place=place, host=host, protocol=0x8847, **more)
    of = Label(label, last) if label is not None else None
    return replace(found, drop=replace(found.drop, packet=None, label=of))


def unhandled(**more):
    return carried(place=CORE, reason="UNHANDLED_PROTO", **more)


EXPECTED = {
    "mpls": (carried(settings={INPUT: 0, LABELS: 200}), "gre1"),
    "mpls, no route": (carried(settings=ON), "gre1"),
    "mpls, off on lo": (
        replace(
            carried(settings={**ON, "net.mpls.conf.lo.input": 0}, leaving_by=1), leaving_by="lo"
        ),
        "gre1",
    ),
    "mpls, no room for the label": (carried(300, settings=ON), "gre1"),
    "mpls, more labels": (carried(settings=ON, last=False), "gre1"),
    "mpls, explicit null": (carried(0, settings={INPUT: 1, LABELS: 0}), "gre1"),
    "mpls, reserved": (carried(1, settings={INPUT: 1, LABELS: 0}), "gre1"),
    "mpls, the module is not loaded": (unhandled(host=FakeHost(modules=LOADABLE)), "gre1"),
    "mpls, it has been loaded since": (
        unhandled(host=FakeHost(modules={"mpls_router": "loaded"})),
        "gre1",
    ),
    "mpls, there is no module": (unhandled(), "gre1"),
    "other, the label has a route": (carried(host=FakeHost(ON, labels=(100,))), "gre1"),
    "other, whether it has a route is not known": (carried(host=FakeHost(ON)), "gre1"),
    "other, the last label was taken off": (carried(None, settings=ON), "gre1"),
    "other, router alert": (carried(1, settings=ON), "gre1"),
    "other, MPLS in frames": (
        carried(ours=tunnel("gre1", ifindex=GRE1, kind="gretap"), settings={INPUT: 0}),
        "gre1",
    ),
    "other, no MPLS on such a device": (carried(settings={LABELS: 200}), "gre1"),
}
