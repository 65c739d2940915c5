# SPDX-License-Identifier: GPL-2.0-only
"""Set-ups from the field: GRE through WireGuard, which decides by addresses of its own."""

from tests.lab.field import PATIENCE, Row, ping_all, pings_from_b, prove, sites
from tests.lab.hosts import run
from tests.lab.session import causes_seen, explain_drop

KEYS = {}


def keys_of(*owner):
    """A private and a public key."""
    if owner not in KEYS:
        private = run("wg", "genkey").stdout
        KEYS[owner] = private, run("wg", "pubkey", stdin=private).stdout.strip()
    return KEYS[owner]


def in_wg(site, host):
    return site.inner(host, 5)


def port(site):
    return 40000 + site.number


def device(host, name, owner, address):
    private, _ = keys_of(*owner)
    host.ip(f"link add {name} type wireguard", f"addr add {address}/24 dev {name}")
    host.run("wg", "set", name, "private-key", "/dev/stdin", stdin=private)


def wireguard(ours, *, endpoint=True, listens=True):
    """wg0 to A, for which A's addresses `ours` are allowed."""

    def make(site):
        run("modprobe", "wireguard")
        theirs = f"w{site.number}"
        device(site.b, "wg0", (site.number, "b"), in_wg(site, 1))
        device(site.a, theirs, (site.number, "a"), in_wg(site, 2))
        _, key_a = keys_of(site.number, "a")
        _, key_b = keys_of(site.number, "b")
        where = ("endpoint", f"{site.far}:{port(site)}") if endpoint else ()
        allowed = ("allowed-ips", ",".join(net.format(site=site) for net in ours))
        site.b.run("wg", "set", "wg0", "peer", key_a, *allowed, *where)
        site.a.run(
            *("wg", "set", theirs, "listen-port", str(port(site)), "peer", key_b),
            *("allowed-ips", f"{in_wg(site, 1)}/32"),
        )
        site.b.ip("link set wg0 up")
        if listens:
            site.a.ip(f"link set {theirs} up")

    return make


def through_it(*ours, **more):
    """GRE between the addresses inside WireGuard."""

    def make(site):
        wireguard(ours, **more)(site)
        site.tunnel(ends=f"local {in_wg(site, 1)} remote {in_wg(site, 2)}")
        site.peer_tunnel(ends=f"local {in_wg(site, 2)} remote {in_wg(site, 1)}")

    return make


def to_the_endpoint(site):
    """The peer's address outside is routed into WireGuard."""
    wireguard(["10.{site.number}.5.2/32"])(site)
    site.tunnel()
    site.peer_tunnel()
    site.b.ip(f"route add {site.far}/32 dev wg0 src {site.near}")


def told_where(site):
    key = keys_of(site.number, "a")[1]
    site.b.run("wg", "set", "wg0", "peer", key, "endpoint", f"{site.far}:{port(site)}")


ROWS = {
    "the remote is in no allowed-ips": Row(
        "tx-wireguard", through_it("10.{site.number}.6.0/24"), pings_from_b, iif="wg0",
        words=("gre1 sends to 10.{site.number}.5.2 by wg0", "allowed-ips of no peer"),
        command="wg set wg0 peer ",
        more="allowed-ips 10.{site.number}.6.0/24,10.{site.number}.5.2/32", flows=pings_from_b,
    ),
    "the peer has no endpoint": Row(
        "tx-wireguard", through_it("10.{site.number}.5.2/32", endpoint=False), pings_from_b,
        iif="wg0", words=("has no endpoint",), mends=told_where, flows=pings_from_b,
    ),
    "the remote is where the peer lives": Row(
        "tx-wireguard", to_the_endpoint, pings_from_b, iif="wg0",
        words=("gre1 sends to {site.far} by wg0",), notes=("where the peer of wg0 itself lives",),
        mends=lambda site: site.b.ip(f"route del {site.far}/32 dev wg0"), flows=pings_from_b,
    ),
}  # fmt: skip


told, test_told, test_mended, test_what_worked_before_still_works = prove(ROWS)


def test_nobody_answers_the_handshake():
    """What waits for one is freed after 90 s, or when the device is set down."""
    with sites(["silent"]) as made:
        site = made["silent"]
        through_it("10.{site.number}.5.2/32", listens=False)(site)
        with explain_drop(site.b) as session:
            ping_all([pings_from_b(site)], patience=1)
            site.b.ip("link set wg0 down")
            session.wait_for(
                lambda reports: any(r["cause"] == "tx-wireguard" for r in reports), "report"
            )
            session.stop()
        (report,) = [r for r in session.reports if r["cause"] == "tx-wireguard"]
        causes_seen.add(report["cause"])
        assert "does not answer its handshakes: there was none yet" in report["summary"]
        assert report["tunnel"] == "gre1"
        assert report["fix"][0]["command"] == "wg show wg0"
        site.b.shell(report["fix"][0]["command"])
        site.a.ip(f"link set w{site.number} up")
        site.b.ip("link set wg0 up")
        assert site.b.ping(site.in_a, patience=PATIENCE)
