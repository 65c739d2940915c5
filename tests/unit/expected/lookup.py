"""Cases of the lookup's causes, and of `other`."""

from gretrace.model import Place
from tests.frames import gre, gre_packet, ipv4
from tests.unit.cases import HEARD, ONCE_HEARD, SILENT, A, B, case, tunnel

OTHER = "20.1.1.99"
NATTED = gre_packet("20.1.1.254", B, key=1)


def keyed(key):
    return gre_packet(A, B, key=key)


EXPECTED = {
    "key-mismatch": (case(keyed(2), tunnel(key=1)), "gre1"),
    "key-mismatch, key 0 against 1": (case(keyed(0), tunnel(key=1)), "gre1"),
    "key-missing": (case(keyed(None), tunnel(key=1)), "gre1"),
    "key-missing, key 0": (case(keyed(None), tunnel(key=0)), "gre1"),
    "key-unexpected": (case(keyed(2), tunnel()), "gre1"),
    "key-unexpected, key 0": (case(keyed(0), tunnel()), "gre1"),
    "nat-remote": (case(NATTED, tunnel(key=1)), "gre1"),
    "nat-remote, fell silent": (case(NATTED, tunnel(key=1), traffic={10: ONCE_HEARD}), "gre1"),
    "nat-remote, others are heard": (
        case(
            NATTED,
            tunnel("gre1", remote=OTHER, key=1, ifindex=10),
            tunnel("gre2", key=1, ifindex=11),
            traffic={10: HEARD, 11: SILENT},
        ),
        "gre2",
    ),
    "local-mismatch": (case(gre_packet(A, OTHER, key=1), tunnel(key=1)), "gre1"),
    "tunnel-down": (case(keyed(1), tunnel(key=1, up=False)), "gre1"),
    "key-mismatch, and down": (case(keyed(2), tunnel(key=1, up=False)), "gre1"),
    "wrong-type": (case(keyed(1), tunnel(key=1, kind="gretap")), "gre1"),
    "no-tunnel": (case(keyed(1)), None),
    "no-tunnel, two things differ": (case(NATTED, tunnel(key=2)), None),
    "no-tunnel, the peer is heard": (case(NATTED, tunnel(key=1), traffic={10: HEARD}), None),
    "no-tunnel, several fell silent": (
        case(
            NATTED,
            tunnel("gre1", key=1, ifindex=10),
            tunnel("gre2", remote=OTHER, key=1, ifindex=11),
            traffic={10: ONCE_HEARD, 11: ONCE_HEARD},
        ),
        None,
    ),
    "other, the tunnel fits": (case(keyed(1), tunnel(key=1)), None),
    "other, the fallback device is up": (
        case(keyed(1), tunnel("gre0", local=None, remote=None, fallback=True)),
        None,
    ),
    "other, another function": (case(keyed(2), tunnel(key=1), place=Place("nft_do_chain")), None),
    "other, the demultiplexer": (
        case(keyed(2), tunnel(key=1), place=Place("gre_rcv", "gre")),
        None,
    ),
    "other, version 1": (case(gre_packet(A, B, flags=1), tunnel(key=1)), None),
    "other, routing bit": (case(gre_packet(A, B, flags=0x4000), tunnel(key=1)), None),
    "other, shorter than 12 bytes": (
        case(ipv4(A, B, 47, gre(b"", protocol=0)), tunnel(key=1)),
        None,
    ),
    "other, no IP": (case(b"\0" * 60, tunnel(key=1)), None),
}
