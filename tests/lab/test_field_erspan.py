# SPDX-License-Identifier: GPL-2.0-only
"""Set-ups from the field: ERSPAN of another type or session than the tunnel's, or without a frame.

Of type II and III the kernel takes either by a tunnel of either, which test_field_quiet.py sees.
"""

from itertools import count

from tests.frames import gre, ipv6, udp
from tests.lab.field import Row, prove

TYPE_II, TYPE_III = 0x88BE, 0x22EB
SESSION, OTHER = 7, 8
SENDER = "02:00:00:00:00:01"
MORE = {TYPE_II: 4, TYPE_III: 8}  # bytes of their headers behind the session
sequence = count(1)


def frame(site):
    addresses = b"\xff" * 6 + b"\x02\0\0\0\0\x01"
    return addresses + b"\x08\0" + udp(site.in_a, site.in_b)


def erspan(site, protocol, session, carried=None):
    """A GRE header and what it carries: a header of ERSPAN, and a frame unless told otherwise."""
    version = {TYPE_II: 1, TYPE_III: 2}[protocol]
    header = bytes([version << 4, 0]) + session.to_bytes(2, "big") + bytes(MORE[protocol])
    return header + (frame(site) if carried is None else carried)


def sends(protocol, session=SESSION, carried=None):
    def send(site):
        for _ in range(3):
            payload = erspan(site, protocol, session, carried)
            packet = site.packet(payload, protocol=protocol, sequence=next(sequence))
            site.send(packet, times=1)

    return send


def sends_type_i(site):
    site.send(site.packet(frame(site), protocol=TYPE_II))


def send_over_ipv6(site, packet):
    site.send(ipv6(site.outer6(2), site.outer6(1), 47, packet), times=1)


def sends_over_ipv6(site):
    for _ in range(3):
        payload = erspan(site, TYPE_II, OTHER)
        send_over_ipv6(site, gre(payload, protocol=TYPE_II, sequence=next(sequence)))


def sends_type_i_over_ipv6(site):
    for _ in range(3):
        send_over_ipv6(site, gre(frame(site), protocol=TYPE_II))


def monitor(version):
    """B's tunnel, of a version of ERSPAN as it is on the wire."""
    more = "erspan_ver 0" if version == 0 else f"erspan_ver {version} key {SESSION} seq"

    def make(site):
        site.tunnel(more, kind="erspan")
        know_the_sender(site)

    return make


def know_the_sender(site):
    """B answers what it delivers, and A, which has no tunnel, would answer no ARP."""
    site.b.ip(f"neigh add {site.in_a} lladdr {SENDER} dev gre1")


def monitor_over_ipv6(site):
    site.b.sysctl("net.ipv6.conf.vb.disable_ipv6=0")
    site.b.ip(f"addr add {site.outer6(1)}/64 dev vb nodad")
    ends = f"local {site.outer6(1)} remote {site.outer6(2)}"
    site.tunnel(f"erspan_ver 1 key {SESSION} seq", kind="ip6erspan", ends=ends)
    know_the_sender(site)
    # Nor any neighbour discovery, as it has no IPv6.
    site.b.ip(f"neigh add {site.outer6(2)} lladdr {SENDER} dev vb")


ROWS = {
    "type II, another session": Row(
        "key-mismatch", monitor(1), sends(TYPE_II, OTHER), iif="vb",
        words=("gre1 expects session 7", "carry session 8"),
        command="link change gre1 type erspan", more="ikey 8 okey 8",
    ),
    "type III, another session": Row(
        "key-mismatch", monitor(2), sends(TYPE_III, OTHER), iif="vb",
        words=("gre1 expects session 7", "carry session 8"),
        command="link change gre1 type erspan", more="erspan_ver 2 ikey 8 okey 8",
    ),
    "over IPv6, another session": Row(
        "key-mismatch", monitor_over_ipv6, sends_over_ipv6, iif="vb",
        words=("gre1 expects session 7", "carry session 8"),
        command="link change gre1 type ip6erspan", more="ikey 8 okey 8",
    ),
    "type I, over IPv6": Row(
        "wrong-type", monitor_over_ipv6, sends_type_i_over_ipv6, iif="vb", where="peer",
        words=("gre1 is of ERSPAN type II", "of type I, with no session"), is_mended=False,
    ),
    "type I, where type II is waited for": Row(
        "wrong-type", monitor(1), sends_type_i, iif="vb",
        words=("gre1 is of ERSPAN type II", "of type I, with no session"),
        command="link del gre1", more="erspan_ver 0",
    ),
    "type II, where type I is waited for": Row(
        "wrong-type", monitor(0), sends(TYPE_II), iif="vb",
        words=("gre1 is of ERSPAN type I", "of type II, with session 7"),
        command="link del gre1", more="ikey 7 okey 7 iseq oseq",
    ),
    "type III, where type I is waited for": Row(
        "wrong-type", monitor(0), sends(TYPE_III), iif="vb",
        words=("gre1 is of ERSPAN type I", "of type III, with session 7"),
        command="link del gre1", more="erspan_ver 2 ikey 7 okey 7 iseq oseq",
    ),
    "type II, without a frame": Row(
        "truncated-inner", monitor(1), sends(TYPE_II, carried=b""), iif="vb", where="peer",
        words=("gre1 ends before what it carries",), is_mended=False,
    ),
    "type III, with less than a frame": Row(
        "truncated-inner", monitor(2), sends(TYPE_III, carried=bytes(10)), iif="vb", where="peer",
        words=("gre1 ends before what it carries",), is_mended=False,
    ),
}  # fmt: skip

told, test_told, test_mended, test_what_worked_before_still_works = prove(ROWS)
