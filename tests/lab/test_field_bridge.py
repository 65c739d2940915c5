# SPDX-License-Identifier: GPL-2.0-only
"""Set-ups from the field: a gretap as the port of a bridge that filters or blocks."""

import time

from tests.frames import udp
from tests.lab.field import SENT, Ping, Row, prove, sites
from tests.lab.session import explain_drop
from tests.lab.test_field_quiet import LLDP, STP, TEB, UNKNOWN, VLAN, frame

IPV4 = b"\x08\x00"
ALL = b"\xff" * 6


def bridged(*vlan_lines, vlan=None, stp=0, settings="vlan_filtering 1"):
    """gre1 in br0, whose address is in a VLAN or without a tag; A answers there."""

    def make(site):
        device = f"br0.{vlan}" if vlan else "br0"
        site.b.ip(
            f"link add br0 type bridge {settings} stp_state {stp}",
            f"link add gre1 type gretap local {site.near} remote {site.far}",
            "link set gre1 master br0",
            "link set gre1 up",
            "link set br0 up",
            *([f"link add link br0 name {device} type vlan id {vlan}"] if vlan else []),
            f"addr add {site.in_b}/24 dev {device}",
            f"link set {device} up",
        )
        tap = site.peer
        site.a.ip(
            f"link add {tap} type gretap local {site.far} remote {site.near}",
            f"link set {tap} up",
            *([f"link add link {tap} name {tap}.v type vlan id {vlan}"] if vlan else []),
            f"addr add {site.in_a}/24 dev {tap}{'.v' if vlan else ''}",
            *([f"link set {tap}.v up"] if vlan else []),
        )
        time.sleep(0.2)  # what each end greets the other with as it comes up
        for line in vlan_lines:
            site.b.run("bridge", *line.split())

    return make


def sends(*, vlan=None):
    tag = VLAN + vlan.to_bytes(2, "big") if vlan else b""

    def send(site):
        inside = udp(site.in_a, site.in_b)
        site.send(site.packet(frame(ALL, tag + IPV4, inside), protocol=TEB))

    return send


def from_a(site):
    return Ping(site.a, site.in_b, 1)


ROWS = {
    "a VLAN that the port does not let in": Row(
        "bridge-refused", bridged("vlan add dev br0 vid 10 self", vlan=10), sends(vlan=10),
        words=("gre1 is a port of the bridge br0", "frames of VLAN 10"), iif="gre1",
        command="bridge vlan add dev gre1 vid 10", flows=from_a,
    ),
    "no tag, and no VLAN for such": Row(
        "bridge-refused", bridged("vlan del dev gre1 vid 1"), sends(),
        words=("frames without a VLAN tag",), notes=("only you know",), iif="gre1",
        mends=lambda site: site.b.run(
            *["bridge", "vlan", "add", "dev", "gre1", "vid", "1", "pvid", "untagged"]
        ),
        flows=from_a,
    ),
    "a VLAN, where nothing without a tag is let in": Row(
        "bridge-refused",
        bridged("vlan add dev br0 vid 10 self", "vlan del dev gre1 vid 1", vlan=10),
        sends(vlan=10), words=("frames of VLAN 10",), confidence="likely", iif="gre1",
        command="bridge vlan add dev gre1 vid 10", flows=from_a,
    ),
    "a port that was disabled": Row(
        "bridge-refused", bridged("link set dev gre1 state 0", settings=""), sends(),
        words=("the port is disabled",), iif="gre1",
        command="bridge link set dev gre1 state 3", flows=from_a,
    ),
}  # fmt: skip


told, test_told, test_mended, test_what_worked_before_still_works = prove(ROWS)


HEALTHY = {
    # Until it has listened long enough, a port does not forward.
    "STP does not let the port forward yet": bridged(stp=1, settings=""),
    "the bridge has no part in the VLAN": bridged("vlan add dev gre1 vid 10"),
    "nothing is filtered": bridged(settings=""),
}


def test_what_switches_do_all_day_is_no_fault():
    with sites(list(HEALTHY)) as made:
        for name, setup in HEALTHY.items():
            setup(made[name])
        with explain_drop(None, "--all-netns", "-v") as session:
            for site in made.values():
                sends(vlan=10)(site)
                for one in (
                    frame(LLDP, b"\x88\xcc", bytes(46)),
                    frame(STP, (46).to_bytes(2, "big"), bytes.fromhex("424203") + bytes(43)),
                    frame(ALL, UNKNOWN, bytes(46)),
                ):
                    site.send(site.packet(one, protocol=TEB), times=SENT)
            time.sleep(3)
            session.stop()
        ours = {site.b.namespace.inode for site in made.values()}
        assert [r for r in session.reports if r["netns"] in ours] == []
        assert "of VLANs that the bridge takes no part in itself" in session.stderr
