# SPDX-License-Identifier: GPL-2.0-only
"""What a tunnel cannot send: every way to fail at once, one tunnel each, and then mended.

All faults are in B; A is the peer of each tunnel. C sends through B, as locally made and
forwarded packets must be explained alike.
"""

from contextlib import contextmanager
from dataclasses import dataclass

from tests.lab.bystander import beside
from tests.lab.hosts import A, B, hosts, wire
from tests.lab.ping import Ping, ping_all
from tests.lab.session import explain_drop

A6, B6 = "fd00::2", "fd00::1"
ROUTER, SILENT, SILENT6 = "20.1.1.88", "20.1.1.77", "fd00::77"
XMIT, XMIT6 = "ip_tunnel_xmit", "ip6gre_tunnel_xmit"
# Where a packet dies that went through too many devices, unless tunnels have a limit of their own.
LIMIT = "kfree_skb_list_reason"
LONG, SENT = 1472, 2
# A neighbour is given up for silent at once, and asked again with the next packet.
IMPATIENT = ("retrans_time_ms=200", "mcast_solicit=1")


@dataclass(frozen=True)
class Fault:
    """A tunnel of B's that cannot send, and how it comes to that."""

    cause: str
    function: str
    remote: str = A
    kind: str = "gre"
    local: str = B
    setup: tuple[str, ...] = ()
    mtu: int | None = None
    command: str | None = None  # that is advised first, where it mends
    words: tuple[str, ...] = ()  # in the summary
    is_forwarded: bool = False  # C sends too
    also: str | None = None  # a function that frees it in other kernels
    is_exact: bool = True  # no packet but the ping's own is lost
    iif: str | None = None  # where the packet dies, unless on the tunnel

    @property
    def is_ipv6(self):
        return ":" in self.remote


# The name of each is that of its tunnel.
FAULTS = {
    "hole": Fault(
        "tx-no-route", XMIT, "30.1.1.1", setup=("route add blackhole 30.1.1.1",),
        command=f"ip route replace 30.1.1.1/32 via {A} dev vb",
        words=("hole cannot send", "30.1.1.1", "blackhole"), is_forwarded=True,
    ),
    "forbid": Fault(
        "tx-no-route", XMIT, "30.1.1.2", "gretap", setup=("route add prohibit 30.1.1.2",),
        command=f"ip route replace 30.1.1.2/32 via {A} dev vb",
        words=("prohibit",), is_exact=False,
    ),
    "none6": Fault(
        "tx-no-route", XMIT6, "fd30::1", "ip6gre", B6, words=("this host has no route to fd30::1",),
    ),
    "strange": Fault(
        "tx-no-route", XMIT, local="20.1.1.9", words=("its local address 20.1.1.9",),
        command=f"ip link change dev strange type gre local {B} remote {A} ikey 4 okey 4 ttl 255",
    ),
    "strange6": Fault(
        "tx-no-route", XMIT6, A6, "ip6gre", "fd00::9", words=("its local address fd00::9",),
        command=(
            f"ip link change dev strange6 type ip6gre local {B6} remote {A6} "
            "ikey 5 okey 5 hoplimit 255"
        ),
    ),
    "loop": Fault(
        "tx-loop", XMIT, "30.1.1.3", setup=("route add 30.1.1.3 dev loop",),
        command=f"ip route replace 30.1.1.3/32 via {A} dev vb",
        words=("the remote of loop, leads into loop itself",), is_forwarded=True,
    ),
    "loop6": Fault(
        "tx-loop", XMIT6, "fd00::12", "ip6gre", B6, setup=("route add fd00::12 dev loop6",),
        command="ip route replace fd00::12/128 dev vb", words=("leads into loop6 itself",),
        is_exact=False,
    ),
    "one": Fault(
        "tx-loop", XMIT, "30.1.1.4", command=f"ip route replace 30.1.1.4/32 via {A} dev vb",
        setup=("route add 30.1.1.5 dev one",),
        words=("leads into two; that to 30.1.1.5, of two, into one",), also=LIMIT,
    ),
    "two": Fault(
        "tx-loop", XMIT, "30.1.1.5", command=f"ip route replace 30.1.1.5/32 via {A} dev vb",
        setup=("route add 30.1.1.4 dev two",),
        words=("leads into one; that to 30.1.1.4, of one, into two",), also=LIMIT,
    ),
    "big": Fault(
        "tx-mtu", XMIT, mtu=1500, command="ip link set dev big mtu 1472",
        words=("big takes packets of 1500 bytes, but only 1472 fit",), is_forwarded=True,
    ),
    "bigtap": Fault(
        "tx-mtu", XMIT, kind="gretap", mtu=1500, command="ip link set dev bigtap mtu 1458",
        words=("only 1458 fit",),
    ),
    "big6": Fault(
        "tx-mtu", XMIT6, A6, "ip6gre", B6, mtu=1500, command="ip link set dev big6 mtu 1444",
        words=("only 1444 fit",),
    ),
    "cut": Fault(
        "tx-mtu", "ip_fragment", mtu=1500, command="ip link set dev cut mtu 1472",
        words=("only 1472 fit",), iif="vb",
    ),
    "silent": Fault(
        "tx-no-neighbour", "neigh_invalidate", SILENT, iif="vb",
        words=(f"{SILENT} does not answer ARP on vb",),
    ),
    "silent6": Fault(
        "tx-no-neighbour", "neigh_invalidate", SILENT6, "ip6gre", B6, iif="vb",
        words=(f"{SILENT6} does not answer neighbour discovery on vb",),
    ),
    "router": Fault(
        "tx-no-neighbour", "neigh_invalidate", "40.1.1.1", iif="vb",
        setup=(f"route add 40.1.1.1 via {ROUTER}",),
        words=(f"{ROUTER} does not answer ARP on vb, so what router sends to 40.1.1.1",),
    ),
}  # fmt: skip
NUMBERS = {name: number for number, name in enumerate(FAULTS, start=1)}
FORWARDED = [name for name, fault in FAULTS.items() if fault.is_forwarded]


def inside(name, host):
    return f"10.{NUMBERS[name]}.0.{host}"


def behind(name):
    """Where C sends to: an address of A's that B reaches by this tunnel."""
    return f"10.200.0.{NUMBERS[name]}"


@contextmanager
def network():
    """C -- B -- A, and in B every fault."""
    with hosts("a", "b", "c") as (a, b, c):
        wire(a, "va", f"{A}/24", b, "vb", f"{B}/24")
        wire(c, "vc", "50.1.1.2/24", b, "wb", "50.1.1.1/24")
        for host, device, address in ((a, "va", A6), (b, "vb", B6)):
            host.sysctl(f"net.ipv6.conf.{device}.disable_ipv6=0")
            host.ip(f"addr add {address}/64 dev {device} nodad")
        b.sysctl(
            "net.ipv4.ip_forward=1",
            *(
                f"net.ipv{version}.neigh.vb.{setting}"
                for version in (4, 6)
                for setting in IMPATIENT
            ),
        )
        b.ip(f"route add default via {A}")
        c.ip("route add default via 50.1.1.1")
        a.ip(
            *(f"addr add 30.1.1.{n}/32 dev lo" for n in range(1, 6)),
            *(f"addr add {behind(name)}/32 dev lo" for name in FORWARDED),
            "addr add fd00::12/64 dev va nodad",
            "addr add fd30::1/128 dev va nodad",
        )
        for name, fault in FAULTS.items():
            make(b, name, fault, f"local {fault.local} remote {fault.remote}", 1)
            make(a, name, fault, f"local {fault.remote} remote {B6 if fault.is_ipv6 else B}", 2)
        # Routes of IPv6 lead to no device without it.
        b.sysctl(*(f"net.ipv6.conf.{name}.disable_ipv6=0" for name in ("loop6", "big")))
        b.ip(
            *(line for fault in FAULTS.values() for line in fault.setup),
            *(f"link set {name} mtu {fault.mtu}" for name, fault in FAULTS.items() if fault.mtu),
            *(f"route add {behind(name)} dev {name}" for name in FORWARDED),
            "addr add fd11::1/64 dev big nodad",
        )
        a.ip("route add 50.1.1.0/24 dev big")
        yield a, b, c


def make(host, name, fault, ends, number):
    host.ip(
        f"link add {name} type {fault.kind} {ends} key {NUMBERS[name]} ttl 255",
        f"addr add {inside(name, number)}/30 dev {name}",
        f"link set {name} up",
    )


def failing(b, c):
    """What is lost: two packets each, or one that is too long, after which the host knows."""
    for name, fault in FAULTS.items():
        told = {"count": SENT, "may_fail": SENT - 1}
        if fault.mtu:
            told = {"size": LONG, "fragment": "dont" if fault.iif else "do"}
        yield Ping(b, inside(name, 2), **told)
        if fault.is_forwarded:
            yield Ping(c, behind(name), **told)
    yield Ping(b, "fd11::2", size=LONG - 20, fragment="do")


def mended(b, c):
    """The same again; and what is too long is cut in time, or just fits."""
    for name, fault in FAULTS.items():
        yield Ping(b, inside(name, 2), count=2)
        if fault.is_forwarded:
            yield Ping(c, behind(name), count=2, size=LONG, may_fail=1)
        if fault.mtu:
            fits = int(fault.command.rpartition(" ")[2])
            yield Ping(b, inside(name, 2), size=LONG, fragment="dont")
            yield Ping(b, inside(name, 2), size=fits - 28, fragment="do")


def lost(fault):
    return (1 if fault.mtu else SENT) * (2 if fault.is_forwarded else 1)


def test_every_failure_to_send_is_named_and_mended():
    with network() as (a, b, c), beside(a, b):
        with explain_drop(b) as session:
            assert not any(ping_all(failing(b, c), patience=1))
            session.wait_for(
                lambda reports: {r["tunnel"] for r in reports} == set(FAULTS), "report of each"
            )
            assert session.stop() == 3
        for name, fault in FAULTS.items():
            check([r for r in session.reports if r["tunnel"] == name], name, fault, b)
        assert not [r for r in session.reports if r["tunnel"] not in FAULTS]
        mend(a, b, session.reports)
        # Anew, as the end of the first is what tells every count.
        with explain_drop(b) as session:
            assert all(ping_all(mended(b, c)))
            assert session.stop() == 0, session.stdout


def check(reports, name, fault, b):
    """Every report of a tunnel names its fault, and all of them together each packet."""
    assert {r["cause"] for r in reports} == {fault.cause}, reports
    for report in reports:
        assert (report["remote"], report["local"]) == (fault.remote, fault.local), report
        assert report["key"] == NUMBERS[name]
        assert report["netns"] == b.namespace.inode
        assert report["iif"] == (fault.iif or name)
        assert report["confidence"] == "certain"
        for words in fault.words:
            assert words in report["summary"]
    if fault.is_exact:
        inner = [r for r in reports if r["inner"]["protocol"] != 58]
        assert sum(r["count"] for r in inner) == lost(fault), (name, reports)
        assert {r["kernel"]["function"] for r in reports} <= {fault.function, fault.also}


def is_ipv6_inside(report):
    return report["inner"] is not None and ":" in report["inner"]["src"]


def mend(a, b, reports):
    """Run the first command of each; what only the peer or the path can mend is mended there."""
    for name, fault in FAULTS.items():
        # What goes inside over IPv6 is one more report of `big`, sometimes the earlier one.
        mine = [r for r in reports if r["tunnel"] == name]
        first, *others = min(mine, key=is_ipv6_inside)["fix"]
        if fault.command:
            assert first["where"] == "here"
            assert first["command"] == fault.command
            b.shell(first["command"])
        elif fault.cause == "tx-no-neighbour":
            assert first["where"] == "path"
            assert "FAILED" in b.shell(first["command"]).stdout
        else:
            assert first["command"] is None
            assert "ip route replace fd30::1/128 via GATEWAY dev LINK" in first["note"]
            b.ip(f"route replace fd30::1/128 via {A6} dev vb")
        if name == "big":
            # The other way: it needs no smaller device, and must at least be what nft takes.
            b.shell(others[0]["command"])
            assert "maxseg size set 1432" in b.shell("nft list ruleset").stdout
    a.ip(
        f"addr add {SILENT}/24 dev va",
        f"addr add {ROUTER}/24 dev va",
        "addr add 40.1.1.1/32 dev lo",
        f"addr add {SILENT6}/64 dev va nodad",
    )
