# SPDX-License-Identifier: GPL-2.0-only
"""Many sites side by side, each in a state of its own, told of by one run of `explain-drop`.

A site is a router B with a wire to A, who is the peer of all. Site number N has the addresses
20.N.1.0/24 outside and 10.N.0.0/24 inside, and beside what a test makes of it a tunnel `by0`
that works: whatever is advised, it goes on working.
"""

import re
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from tests.frames import gre_packet, udp
from tests.lab.hosts import hosts, run, wire
from tests.lab.ping import Ping, ping_all
from tests.lab.session import causes_seen, explain_drop

SENT = 3
# What a neighbour is given up after, that nobody waits for long.
IMPATIENT = ("retrans_time_ms=200", "mcast_solicit=1", "ucast_solicit=1")
PATIENCE = 20  # seconds that a report may take, and no longer, for rows that stay silent
NO_TRAFFIC_OF_OURS = ("lo", "vb", "by0")


@dataclass(frozen=True)
class Site:
    """B of one row, and A, who is the same for all."""

    number: int
    a: object
    b: object

    @property
    def va(self):
        """A's device on the wire."""
        return f"v{self.number}"

    @property
    def peer(self):
        """A's tunnel, if the row makes one."""
        return f"t{self.number}"

    def outer(self, host):
        return f"20.{self.number}.1.{host}"

    def outer6(self, host):
        return f"fd00:{self.number}::{host}"

    def inner(self, host, net=0):
        return f"10.{self.number}.{net}.{host}"

    @property
    def far(self):
        return self.outer(2)

    @property
    def near(self):
        return self.outer(1)

    @property
    def beside(self):
        """A's other address, where `by0` leads."""
        return self.outer(3)

    @property
    def in_a(self):
        return self.inner(2)

    @property
    def in_b(self):
        return self.inner(1)

    def packet(self, payload=None, *, local=None, **header):
        inside = udp(self.in_a, self.in_b) if payload is None else payload
        return gre_packet(self.far, local or self.near, inside, **header)

    def send(self, packet, times=SENT):
        self.a.send(self.va, packet, times=times)

    def tunnel(self, attributes="", *, kind="gre", name="gre1", ends=None, up=True, net=0):
        """B's tunnel to A."""
        ends = f"local {self.near} remote {self.far}" if ends is None else ends
        self.b.ip(
            f"link add {name} type {kind} {ends} {attributes}",
            f"addr add {self.inner(1, net)}/24 dev {name}",
            *([f"link set {name} up"] if up else []),
        )

    def peer_tunnel(self, attributes="", *, kind="gre", ends=None):
        """A's tunnel to B."""
        ends = f"local {self.far} remote {self.near}" if ends is None else ends
        self.a.ip(
            f"link add {self.peer} type {kind} {ends} {attributes}",
            f"addr add {self.in_a}/24 dev {self.peer}",
            f"link set {self.peer} up",
        )

    def taken(self):
        """How many packets the devices of B's that are no wire have received."""
        return sum(
            received
            for name, (received, _) in self.b.counters().items()
            if name not in NO_TRAFFIC_OF_OURS
        )


def nothing(_site):
    """Do nothing."""


def packets(**header):
    """Send GRE packets of A's that only have a header of their own."""
    return lambda site: site.send(site.packet(**header))


def pings_from_b(site):
    """B pings A's end inside."""
    return Ping(site.b, site.in_a, SENT)


def pings_from_a(site):
    return Ping(site.a, site.in_b, SENT)


@dataclass(frozen=True)
class Row:
    """A state of B, what is sent, and what must be said of it."""

    cause: str
    setup: Callable
    send: Callable  # sends, or returns a Ping that is not expected to be answered
    tunnel: str | None = "gre1"
    confidence: str = "certain"
    words: tuple[str, ...] = ()  # in the summary; {} is the site
    notes: tuple[str, ...] = ()  # in the first fix's note
    unsaid: tuple[str, ...] = ()  # nowhere in the report
    command: str | None = None  # what the first fix's begins with, behind ip -n NAME; None: none
    more: str = ""  # what it has, too
    where: str = "here"
    count: int | None = SENT  # None: at least one
    iif: str | None = None
    mends: Callable = nothing  # what a person does beside the command, or in its place
    flows: Callable | None = None  # a Ping that is answered then; None: B takes what is sent
    is_mended: bool = True
    has_bystander: bool = True
    also: tuple[str, ...] = ()  # causes of what follows from it, which are told as well
    before: Callable | None = None  # a Ping that is answered before anything is watched


@dataclass
class Told:
    """What was said of every site, and what became of it."""

    sites: dict[str, Site]
    reports: dict[str, list] = field(default_factory=dict)
    after: dict[str, list] = field(default_factory=dict)
    flowing: dict[str, bool] = field(default_factory=dict)
    bystanders: dict[str, bool] = field(default_factory=dict)
    shown: dict[str, str] = field(default_factory=dict)
    stderr: str = ""


@contextmanager
def sites(names):
    """A site for each name."""
    with hosts("a", *(f"b{number}" for number, _ in enumerate(names, start=1))) as (a, *others):
        made = {}
        for number, (name, b) in enumerate(zip(names, others, strict=True), start=1):
            site = made[name] = Site(number, a, b)
            wire(a, site.va, f"{site.far}/24", b, "vb", f"{site.near}/24")
            b.sysctl(*(f"net.ipv4.neigh.vb.{setting}" for setting in IMPATIENT))
            add_bystander(site)
        yield made


def add_bystander(site):
    a, b, other = site.a, site.b, site.beside
    a.ip(
        f"addr add {other}/24 dev {site.va}",
        f"link add by{site.number} type gre local {other} remote {site.near} key 909 ttl 255",
        f"addr add {site.inner(2, 9)}/30 dev by{site.number}",
        f"link set by{site.number} up",
    )
    b.ip(
        f"link add by0 type gre local {site.near} remote {other} key 909 ttl 255",
        f"addr add {site.inner(1, 9)}/30 dev by0",
        "link set by0 up",
    )


def through_bystander(site):
    return Ping(site.b, site.inner(2, 9), 1)


def send_all(rows, made):
    """Send what each row sends, its pings all at once."""
    pings = [row.send(made[name]) for name, row in rows.items()]
    ping_all([ping for ping in pings if isinstance(ping, Ping)], patience=1)


def tell(rows, made):
    """Set every site up, send, and keep what one run says; then do what it advises, and again."""
    told = Told(made)
    for name, row in rows.items():
        row.setup(made[name])
    before = [row.before(made[name]) for name, row in rows.items() if row.before]
    heard = [through_bystander(made[name]) for name, row in rows.items() if row.has_bystander]
    ping_all([*before, *heard])
    with explain_drop(None, "--all-netns", "-v") as session:
        send_all(rows, made)
        _wait_for(session, rows, made)
        session.stop()
        told.stderr = session.stderr
    told.reports = _by_site(session.reports, made)
    for name, row in rows.items():
        told.shown[name] = _mend(row, made[name], told.reports[name])
    with explain_drop(None, "--all-netns") as session:
        _see_it_flow(rows, told)
        session.stop()
    told.after = _by_site(session.reports, made)
    return told


def _wait_for(session, rows, made):
    """Wait for as many packets as every row sends, and not for long: some may stay unseen."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = _by_site(session.reports, made)
        if all(
            sum(r["count"] for r in found[name]) >= (1 if row.count is None else row.count)
            for name, row in rows.items()
        ):
            return
        time.sleep(0.2)


def _by_site(reports, made):
    names = {site.b.namespace.inode: name for name, site in made.items()}
    found = {name: [] for name in made}
    for report in reports:
        if report["netns"] in names:
            found[names[report["netns"]]].append(report)
    return found


def first_command(reports):
    return next((fix["command"] for r in reports for fix in r["fix"][:1] if fix["command"]), None)


def _mend(row, site, reports):
    command, shown = first_command(reports), ""
    if command:
        shown = _shell(command)
    row.mends(site)
    return shown


def _shell(command):
    done = run("sh", "-c", command, check=False)
    return f"exit {done.returncode}: {done.stdout}{done.stderr}"


def _see_it_flow(rows, told):
    made = told.sites
    mended = {name: row for name, row in rows.items() if row.is_mended}
    pings = {name: row.flows(made[name]) for name, row in mended.items() if row.flows}
    told.flowing.update(zip(pings, ping_all(list(pings.values())), strict=True))
    for name, row in mended.items():
        if row.flows is None:
            before = made[name].taken()
            if isinstance(ping := row.send(made[name]), Ping):
                ping_all([ping], patience=1)
            told.flowing[name] = made[name].taken() >= before + SENT
    heard = {name: through_bystander(made[name]) for name, r in rows.items() if r.has_bystander}
    told.bystanders.update(zip(heard, ping_all(list(heard.values())), strict=True))


def check(row, site, reports):
    """What is said of a site is what its row says, and nothing else."""
    # The session has told all rows at once, before the first of their tests.
    causes_seen.update(report["cause"] for report in reports)
    assert {report["cause"] for report in reports} == {row.cause, *row.also}, reports
    reports = [report for report in reports if report["cause"] == row.cause]
    counted = sum(report["count"] for report in reports)
    assert counted == row.count if row.count else counted, reports
    for report in reports:
        # What a peer is to type in words of its own changes nothing here.
        said = str(report | {"fix": [fix | {"vendors": None} for fix in report["fix"]]})
        assert report["tunnel"] == row.tunnel, report
        assert report["confidence"] == row.confidence, report
        assert report["iif"] == (row.iif or report["iif"]), report
        for words in row.words:
            assert words.format(site=site) in report["summary"], report
        for words in row.unsaid:
            assert words.format(site=site) not in said, report
        for placeholder in ("IFACE", "GATEWAY", "NBMA", "TUNNEL", "ROUTER"):
            assert not any(placeholder in (fix["command"] or "") for fix in report["fix"]), report
        fix = report["fix"][0]
        assert fix["where"] == row.where, report
        for words in row.notes:
            assert words.format(site=site) in fix["note"], report
        if row.command is None:
            assert fix["command"] is None, report
            continue
        assert fix["command"], report
        begin, in_site = row.command.format(site=site), f"ip -n {site.b.name} "
        command = fix["command"].removeprefix(in_site)
        command = command.removeprefix(f"ip netns exec {site.b.name} ")
        command = re.sub(r"^link (\w+) dev ", r"link \1 ", command)
        assert command.startswith(begin), report
        assert row.more.format(site=site) in command, report


def prove(rows):
    """Make what tests a module's rows, as `told` and three tests of these names.

    What was said of each site; whether what was advised mends it; and whether `by0` still works.
    """

    @pytest.fixture(scope="module")
    def told():
        with sites(list(rows)) as made:
            yield tell(rows, made)

    @pytest.mark.parametrize("name", rows)
    def test_told(told, name):
        check(rows[name], told.sites[name], told.reports[name])

    @pytest.mark.parametrize("name", [name for name, row in rows.items() if row.is_mended])
    def test_mended(told, name):
        assert told.flowing[name], (told.shown[name], told.reports[name], told.after[name])
        assert told.after[name] == [], (told.shown[name], told.after[name])

    @pytest.mark.parametrize("name", [name for name, row in rows.items() if row.has_bystander])
    def test_what_worked_before_still_works(told, name):
        assert told.bystanders[name], (told.shown[name], told.reports[name])

    return told, test_told, test_mended, test_what_worked_before_still_works
