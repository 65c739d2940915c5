# SPDX-License-Identifier: GPL-2.0-only
"""Set-ups from the field: MPLS in GRE, which a provider's edge hands over."""

from tests.frames import gre_packet, udp
from tests.lab.field import SENT, Row, prove
from tests.lab.hosts import INNER_A, INNER_B, A, B, pair, run
from tests.lab.session import causes_seen, explain_drop

MPLS = 0x8847
INPUT, LABELS = "net.mpls.conf.gre1.input", "net.mpls.platform_labels"
CORE = "__netif_receive_skb_core"


def labels(*values, ttl=64):
    """A stack of labels (RFC 3032)."""
    last = len(values) - 1
    return b"".join(
        (value << 12 | (at == last) << 8 | ttl).to_bytes(4, "big")
        for at, value in enumerate(values)
    )


def sends(*values):
    """Send packets with labels, which are for B itself behind them."""

    def send(site):
        inside = udp(site.in_a, site.in_b)
        site.send(site.packet(labels(*values) + inside, protocol=MPLS))

    return send


def with_mpls(*settings, routes=()):
    def make(site):
        run("modprobe", "mpls_router")
        site.tunnel()
        site.b.ip("link set lo up")
        site.b.sysctl(*settings)
        site.b.ip(*(f"-f mpls route add {route}" for route in routes))

    return make


def switched_elsewhere(site):
    """What only a person knows: that the path ends here, by two labels."""
    site.b.sysctl("net.mpls.conf.lo.input=1")
    site.b.run("ip", "-f", "mpls", "route", "add", "100", "dev", "lo")
    site.b.run("ip", "-f", "mpls", "route", "add", "200", "dev", "lo")


ROWS = {
    "MPLS is off on the tunnel": Row(
        "mpls",
        lambda site: (with_mpls(f"{LABELS}=1000")(site), pop(site, 100)),
        sends(100),
        words=("gre1 has received MPLS with label 100 from {site.far}", f"{INPUT} is 0"),
        iif="gre1",
        command=f"sysctl -w {INPUT}=1",
    ),
    "no route for the label": Row(
        "mpls",
        with_mpls(f"{LABELS}=1000", f"{INPUT}=1"),
        sends(100),
        words=("label 100", "no route for that label"),
        iif="gre1",
        command="-f mpls route add 100 dev lo",
    ),
    "no room for labels": Row(
        "mpls",
        with_mpls(f"{INPUT}=1"),
        sends(0x45000),
        words=("label 282624", "no route for that label"),
        iif="gre1",
        command=f"sysctl -w {LABELS}=282625",
        more="-f mpls route add 282624 dev lo",
    ),
    "explicit null, and no room for labels": Row(
        "mpls",
        with_mpls(f"{INPUT}=1"),
        sends(0),
        words=("label 0 ",),
        iif="gre1",
        command=f"sysctl -w {LABELS}=1024",
    ),
    "several labels": Row(
        "mpls",
        with_mpls(f"{LABELS}=1000", f"{INPUT}=1"),
        sends(100, 200),
        words=("label 100", "no route"),
        notes=("only you know",),
        iif="gre1",
        mends=switched_elsewhere,
    ),
}


def pop(site, label):
    site.b.run("ip", "-f", "mpls", "route", "add", str(label), "dev", "lo")


told, test_told, test_mended, test_what_worked_before_still_works = prove(ROWS)


def test_without_the_module():
    """It is one for all namespaces, so it is no row."""
    run("modprobe", "-r", "mpls_router")
    packet = gre_packet(A, B, labels(100) + udp(INNER_A, INNER_B), protocol=MPLS)
    with pair() as (a, b):
        b.ip(f"link add gre1 type gre local {B} remote {A}", "link set gre1 up", "link set lo up")
        b.ip(f"addr add {INNER_B}/24 dev gre1")
        with explain_drop(b) as session:
            a.send("va", packet, times=SENT)
            session.wait_for_packets(SENT)
            session.stop()
        (report,) = session.reports
        causes_seen.add(report["cause"])
        assert (report["cause"], report["count"]) == ("mpls", SENT)
        assert "mpls_router, which takes it, is not loaded" in report["summary"]
        b.shell(report["fix"][0]["command"])
        before = b.counters()["lo"][0]
        with explain_drop(b) as session:
            a.send("va", packet, times=SENT)
            b.ping(INNER_B)
            session.stop()
        assert session.reports == []
        assert b.counters()["lo"][0] >= before + SENT
