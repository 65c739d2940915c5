# SPDX-License-Identifier: GPL-2.0-only
"""What a Linux peer is told to change, typed at the peer, mends what was reported here."""

from dataclasses import dataclass

import pytest

from tests.lab.field import Ping, ping_all, pings_from_a, sites
from tests.lab.session import causes_seen, explain_drop


@dataclass(frozen=True)
class Asked:
    """The tunnels of both ends, and the cause that is told of what A sends."""

    cause: str
    ours: str = ""
    theirs: str = ""
    source: int = 2
    destination: int = 1
    kind: str = "gre"


ROWS = {
    "another key": Asked("key-mismatch", "key 1", "ikey 1 okey 2"),
    "no key where one is expected": Asked("key-missing", "key 1", "ikey 1"),
    "a key where none is expected": Asked("key-unexpected", "", "okey 2"),
    "no checksum where one is expected": Asked("checksum-policy", "icsum", ""),
    "a checksum where none is expected": Asked("checksum-policy", "", "ocsum"),
    "no number where one is expected": Asked("sequence-policy", "iseq", ""),
    "from another address": Asked("nat-remote", "key 5", "key 5", source=8),
    "to another address": Asked("local-mismatch", "key 5", "key 5", destination=9),
    "over frames": Asked("key-mismatch", "key 1", "ikey 1 okey 2", kind="gretap"),
}


def make(site, row):
    site.a.ip(f"addr add {site.outer(8)}/24 dev {site.va}")
    site.b.ip(f"addr add {site.outer(9)}/24 dev vb")
    site.tunnel(row.ours, kind=row.kind)
    ends = f"local {site.outer(row.source)} remote {site.outer(row.destination)}"
    site.peer_tunnel(row.theirs, kind=row.kind, ends=f"{ends} ttl 64")


@pytest.fixture(scope="module")
def told():
    """By row: what was reported, and whether pings of A's are answered once A did as told."""
    with sites(list(ROWS)) as made:
        for name, row in ROWS.items():
            make(made[name], row)
        of_site = {site.b.namespace.inode: name for name, site in made.items()}
        with explain_drop(None, "--all-netns") as session:
            ping_all([pings_from_a(site) for site in made.values()], patience=1)
            session.wait_for(
                lambda reports: {r["netns"] for r in reports} >= of_site.keys(), "report of each"
            )
            session.stop()
        reports = {of_site[r["netns"]]: r for r in session.reports if r["netns"] in of_site}
        for name, site in made.items():
            for line in words_of(reports[name]):
                site.a.shell(f"ip netns exec {site.a.name} " + line.replace("TUNNEL", site.peer))
        for site in made.values():
            # An ARP entry that was asked for in vain may fail with the next packet in its queue.
            site.a.try_ip(f"neigh flush dev {site.peer}")
        answered = ping_all([Ping(site.a, site.in_b, 1) for site in made.values()])
        shown = ("ip", "-d", "link", "show", "dev")
        kept = {name: site.a.run(*shown, site.peer).stdout for name, site in made.items()}
    return reports, dict(zip(made, answered, strict=True)), kept


def words_of(report):
    (lines,) = (fix["vendors"]["linux"] for fix in report["fix"] if fix["where"] == "peer")
    return lines


@pytest.mark.parametrize("name", ROWS)
def test_the_peers_own_words_mend_it(told, name):
    reports, answered, kept = told
    causes_seen.add(reports[name]["cause"])
    assert reports[name]["cause"] == ROWS[name].cause
    assert answered[name], (words_of(reports[name]), kept[name])
    # What was not asked for is as it was.
    assert "ttl 64" in kept[name]
