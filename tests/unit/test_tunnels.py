# SPDX-License-Identifier: GPL-2.0-only
"""The table of tunnels over links that a test holds in its hands, and how links are read."""

import errno
import socket
import struct
from ipaddress import ip_address
from pathlib import Path

import pytest

from gretrace.host import tunnels
from gretrace.host.namespaces import own_namespace
from gretrace.host.netlink import COUNTERS, KINDS, Link, LinkChanges, Links, xdp_program
from gretrace.model import Encap

UP = 1
CSUM, KEY, SEQ = 0x8000, 0x2000, 0x1000
NEWLINK, DELLINK, DONE, ERROR = 16, 17, 3, 2
INTERRUPTED = 0x10


def attribute(number, value):
    data = value if isinstance(value, bytes) else b"".join(value)
    return struct.pack("=HH", 4 + len(data), number) + data + bytes(-len(data) % 4)


def gre_data(*, iflags=0, ikey=0, oflags=0, okey=0, local=0, remote=0, link=0):
    return (
        *((attribute(1, struct.pack("=I", link)),) if link else ()),
        attribute(2, struct.pack(">H", iflags)),
        attribute(3, struct.pack(">H", oflags)),
        attribute(4, struct.pack(">I", ikey)),
        attribute(5, struct.pack(">I", okey)),
        attribute(6, ip_address(local).packed),
        attribute(7, ip_address(remote).packed),
        attribute(8, b"\xff"),
        attribute(10, b"\1"),
    )


def counters(received=0, sent=0):
    return struct.pack("=25Q", received, sent, *[0] * 23)


def body(index, name, *, kind="gre", data=None, flags=UP, elsewhere=False, received=0):
    """The body of a RTM_NEWLINK message."""
    info = (attribute(1, kind.encode() + b"\0"), attribute(2, data or gre_data())) if kind else ()
    return struct.pack("=BxHiII", 0, 0, index, flags, 0) + b"".join(
        (
            attribute(3, name.encode() + b"\0"),
            attribute(13, struct.pack("=I", 1000)),
            attribute(4, struct.pack("=I", 1472)),
            *((attribute(37, bytes(4)),) if elsewhere else ()),
            attribute(23, counters(received, 7)),
            *((attribute(18 | 0x8000, info),) if info else ()),
        )
    )


def message(kind, content, *, sequence=1, flags=0):
    return struct.pack("=IHHII", 16 + len(content), kind, flags, sequence, 0) + content


def done(sequence=1):
    return message(DONE, bytes(4), sequence=sequence)


def parsed(*arguments, **more):
    with answered(message(NEWLINK, body(*arguments, **more))) as links:
        return links.get(7)


class answered:  # noqa: N801 used as a function
    """A Links whose kernel gives these datagrams."""

    def __init__(self, *datagrams):
        self.datagrams = datagrams

    def __enter__(self):
        self.links = Links()
        asking = self.links._asking
        asking.close()
        asking.socket, self.kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for datagram in self.datagrams:
            self.kernel.send(datagram)
        return self.links

    def __exit__(self, *_):
        self.links.close()
        self.kernel.close()


def test_a_link_is_read():
    link = parsed(7, "gre1", data=gre_data(iflags=KEY, ikey=5), received=3)
    assert (link.index, link.name, link.kind, link.flags, link.mtu) == (7, "gre1", "gre", UP, 1472)
    assert link.gre()["IFLA_GRE_IKEY"] == bytes((0, 0, 0, 5))
    assert not link.is_bound_elsewhere
    assert link.counters() == dict.fromkeys(COUNTERS, 0) | {"rx_packets": 3, "tx_packets": 7}


def test_a_link_without_a_kind_is_read():
    link = parsed(1, "lo", kind=None)
    assert (link.name, link.kind, link.gre()) == ("lo", None, {})


@pytest.mark.parametrize(("attached", "program"), [(2, 31), (0, None)])
def test_the_xdp_program_of_a_link(attached, program):
    number = (attribute(4, struct.pack("=I", program)),) if program else ()
    xdp = attribute(43, (attribute(2, bytes([attached])), *number))
    with answered(message(NEWLINK, body(7, "gre1") + xdp)) as links:
        assert links.get(7).xdp_program == program


def test_counters_of_an_older_kernel():
    link = Link(1, 0, "gre1", 0, "gre", b"", False, struct.pack("=23Q", *range(23)))
    assert link.counters() == dict(zip(COUNTERS, range(23), strict=False))


def test_a_name_that_is_no_text():
    content = body(7, "gre1").replace(b"gre1\0", b"gr\xe91\0")
    with answered(message(NEWLINK, content)) as links:
        assert links.get(7).name == "gr\udce91"


def test_a_link_that_is_not_there():
    with answered(message(ERROR, struct.pack("=i", -errno.ENODEV))) as links:
        assert links.get(7) is None


def test_an_answer_to_an_older_question_is_passed_over():
    late = message(NEWLINK, body(3, "late"), sequence=0)
    with answered(late + done(0), message(NEWLINK, body(7, "gre1"))) as links:
        assert links.get(7).name == "gre1"


def test_a_dump_of_several_datagrams():
    first = message(NEWLINK, body(1, "lo", kind=None)) + message(NEWLINK, body(7, "gre1"))
    with answered(first, message(NEWLINK, body(9, "gre2")), done()) as links:
        assert [link.name for link in links.dump()] == ["lo", "gre1", "gre2"]


def test_a_dump_that_was_disturbed_is_made_again():
    disturbed = message(NEWLINK, body(7, "gre1"), flags=INTERRUPTED)
    whole = message(NEWLINK, body(8, "gre2"), sequence=2)
    with answered(disturbed + done(), whole, done(2)) as links:
        assert [link.name for link in links.dump([7])] == ["gre2"]


def test_what_disturbed_dumps_lack_is_asked_for():
    dumps = [
        message(NEWLINK, body(index, name), sequence=sequence, flags=INTERRUPTED) + done(sequence)
        for sequence, index, name in ((1, 7, "gre1"), (2, 8, "gre2"), (3, 8, "gre2"))
    ]
    there = message(NEWLINK, body(7, "gre1"), sequence=4)
    gone = message(ERROR, struct.pack("=i", -errno.ENODEV), sequence=5)
    with answered(*dumps, there, gone) as links:
        assert sorted(link.name for link in links.dump([9])) == ["gre1", "gre2"]


def test_a_dump_that_is_refused():
    with (
        answered(message(ERROR, struct.pack("=i", -errno.EPERM))) as links,
        pytest.raises(PermissionError),
    ):
        links.dump()


class FullSocket:
    def __init__(self, *heard):
        self.heard = list(heard)

    def recv(self, _size):
        if not self.heard:
            raise BlockingIOError
        heard = self.heard.pop(0)
        if isinstance(heard, Exception):
            raise heard
        return heard


def changes(*heard):
    made = LinkChanges()
    made.close()
    made._socket = FullSocket(*heard)
    return made


def test_which_links_changed():
    two = message(NEWLINK, body(7, "gre1")) + message(DELLINK, body(8, "gre2"))
    made = changes(two, message(NEWLINK, body(7, "gre1")))
    assert made.take() == {7, 8}
    assert made.take() == set()


def test_changes_that_were_lost():
    lost = OSError(errno.ENOBUFS, "no room")
    made = changes(message(NEWLINK, body(7, "gre1")), lost, message(NEWLINK, body(8, "gre2")))
    assert made.take() is None
    assert made.take() == set()


def test_a_socket_that_fails_is_not_silent():
    with pytest.raises(OSError, match="broken"):
        changes(OSError(errno.EIO, "broken")).take()


class FakeLinks:
    """The links of a namespace, and what was asked for."""

    def __init__(self):
        self.there = {}
        self.asked = []

    def set(self, index, name, **more):
        self.there[index] = parsed(index, name, **more)

    def get(self, index):
        self.asked.append(index)
        return self.there.get(index)

    def cookie(self):
        return 7

    def dump(self, _known):
        self.asked.append("all")
        return list(self.there.values())

    def close(self):
        pass


class FakeChanges:
    def __init__(self):
        self.pending = set()

    def take(self):
        taken, self.pending = self.pending, set()
        return taken

    def fileno(self):
        return -1

    close = fileno


@pytest.fixture
def links(monkeypatch):
    links = FakeLinks()
    monkeypatch.setattr(tunnels, "Links", lambda: links)
    links.set(1, "lo", kind=None)
    links.set(2, "eth0", kind=None)
    links.set(7, "gre1", data=gre_data(local="20.1.1.1", remote="20.1.1.2", link=2))
    links.set(5, "tap1", kind="gretap")
    links.set(8, "gre2", data=gre_data(remote="20.1.1.3"))
    return links


@pytest.fixture
def table(links, monkeypatch):
    monkeypatch.setattr(tunnels, "LinkChanges", FakeChanges)
    made = tunnels.TunnelTable(own_namespace())
    links.asked.clear()
    yield made
    made.close()


def change(table, *indexes):
    table._changes.pending |= set(indexes)
    assert table.take_notice()


def names(of):
    return [tunnel.name for tunnel in of]


def test_the_tunnels_by_kind_and_index(table):
    assert names(table.tunnels) == ["gre1", "gre2", "tap1"]
    assert table.tables.tunnels == table.tunnels
    gre1 = table.tunnels[0]
    assert (gre1.local, gre1.remote) == (ip_address("20.1.1.1"), ip_address("20.1.1.2"))
    assert (gre1.link, gre1.link_name, gre1.netns) == (2, "eth0", own_namespace().inode)
    assert (gre1.ttl, gre1.pmtudisc, gre1.mtu, gre1.up, gre1.external) == (
        *(255, True, 1472, True, False),
    )
    assert table.tunnels[1].local is None
    assert table.before is None


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind(links, table, kind):
    six = {"local": "2001:db8::1", "remote": "::"} if kind.startswith("ip6") else {}
    links.set(9, "new", kind=kind, data=gre_data(**six))
    change(table, 9)
    (tunnel,) = (t for t in table.tunnels if t.name == "new")
    assert tunnel.kind == kind
    assert tunnel.local == (ip_address("2001:db8::1") if six else None)
    assert tunnel.remote is None


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (0, (None, None, False, False, False, False)),
        (KEY, (5, 6, False, False, False, False)),
        (CSUM, (None, None, True, True, False, False)),
        (SEQ | KEY, (5, 6, False, False, True, True)),
    ],
)
def test_keys_and_flags(links, table, flags, expected):
    links.set(7, "gre1", data=gre_data(iflags=flags, oflags=flags, ikey=5, okey=6))
    change(table, 7)
    gre1 = table.tunnels[0]
    assert (gre1.ikey, gre1.okey, gre1.icsum, gre1.ocsum, gre1.iseq, gre1.oseq) == expected
    assert gre1.stray_ikey == (0 if flags & KEY else 5)


def test_what_is_around_a_tunnels_packets(links, table):
    encap = ((14, "=H", 2), (15, "=H", 5), (16, ">H", 7000), (17, ">H", 6080))
    data = gre_data() + tuple(attribute(n, struct.pack(form, v)) for n, form, v in encap)
    links.set(7, "gre1", data=data)
    six = gre_data(local="fd00::1", remote="fd00::2")
    links.set(9, "bare", kind="ip6gre", data=(*six, attribute(13, struct.pack("=I", 0x30001))))
    links.set(10, "six", kind="ip6gre", data=(*six, attribute(11, b"\4")))
    links.set(11, "span", kind="erspan", data=(*gre_data(), attribute(22, b"\2")))
    change(table, 7, 9, 10, 11)
    known = {tunnel.name: tunnel for tunnel in table.tunnels}
    assert known["gre1"].encap == Encap("gue", 7000, 6080, csum=True, remcsum=True)
    assert known["gre2"].encap is None
    assert [known[n].encap_limit for n in ("gre2", "bare", "six")] == [None, None, 4]
    assert [known[n].erspan_version for n in ("gre2", "span")] == [1, 2]


def test_a_change_costs_one_question(links, table):
    links.set(7, "gre1", flags=0)
    change(table, 7)
    assert links.asked == []
    assert [t.up for t in table.tunnels] == [False, True, True]
    assert links.asked == [7]
    assert names(table.tunnels) == names(table.tunnels)
    assert links.asked == [7]


def test_the_state_before_a_change_is_kept_until_it_is_settled(links, table):
    first = table.tables
    links.set(7, "gre1", flags=0)
    change(table, 7)
    assert table.before is None
    second = table.tables
    assert table.before is first
    assert second is not first
    table.settle()
    assert table.before is None
    assert table.tables is second


def test_tunnels_that_did_not_change_stay_the_same_object(links, table):
    before = table.tunnels
    links.set(7, "gre1", flags=0)
    table._changes.pending = None
    assert table.take_notice()
    assert [new is old for new, old in zip(table.tunnels, before, strict=True)] == [
        *(False, True, True),
    ]
    assert links.asked == ["all"]


def test_a_change_of_another_link_changes_nothing(links, table):
    first = table.tables
    links.set(1, "lo", kind=None, flags=0)
    change(table, 1)
    assert table.tables is first
    assert table.before is None


def test_without_a_change_nothing_is_noticed(links, table):
    assert not table.take_notice()
    assert names(table.tunnels)
    assert links.asked == []


def test_coming_and_going(links, table):
    links.set(9, "gre9")
    del links.there[7]
    change(table, 7, 9)
    assert names(table.tunnels) == ["gre2", "gre9", "tap1"]
    assert names(table.before.tunnels) == ["gre1", "gre2", "tap1"]
    assert table.link_name(9) == "gre9"
    assert table.link_name(7) is None


def test_an_index_that_another_link_got(links, table):
    links.set(7, "veth0", kind="veth")
    change(table, 7)
    assert names(table.tunnels) == ["gre2", "tap1"]
    assert table.link_name(7) == "veth0"


def test_what_a_tunnel_is_bound_to_is_renamed_and_goes(links, table):
    links.set(2, "wan", kind=None)
    change(table, 2)
    assert table.tunnels[0].link_name == "wan"
    assert table.before.tunnels[0].link_name == "eth0"
    del links.there[2]
    change(table, 2)
    assert (table.tunnels[0].link, table.tunnels[0].link_name) == (2, None)


def test_a_tunnel_that_was_moved_here_is_bound_to_a_link_elsewhere(links, table):
    links.set(9, "moved", data=gre_data(link=2), elsewhere=True)
    change(table, 9)
    assert (table.tunnels[2].link, table.tunnels[2].link_name) == (2, None)
    links.set(2, "wan", kind=None)
    change(table, 2)
    assert [t.link_name for t in table.tunnels] == ["wan", None, None, None]


def test_many_changes_are_read_at_once(links, table):
    change(table, 1, 2, 5, 7)
    assert names(table.tunnels)
    assert links.asked == ["all"]


def test_traffic_since_the_start_and_since_the_last_look(links, table):
    assert table.traffic(7).received == 0
    links.set(7, "gre1", data=gre_data(link=2, local="20.1.1.1", remote="20.1.1.2"), received=5)
    first, second = table.traffic(7), table.traffic(7)
    assert (first.received, first.sent) == (5, 7)
    assert first.received_while_watching == 5
    assert second.received_while_watching == 5
    assert table.traffic(99) is None


def test_a_tunnel_that_comes_later_is_watched_from_then_on(links, table):
    links.set(9, "gre9", received=100)
    change(table, 9)
    assert names(table.tunnels)
    links.set(9, "gre9", received=101)
    assert table.traffic(9).received_while_watching == 1


def test_a_change_that_nobody_told_of_is_seen_at_a_look(links, table):
    """Of a tunnel that is down the kernel does not tell."""
    links.set(8, "gre2", data=gre_data(remote="20.1.1.4"))
    assert table.tunnels[1].remote == ip_address("20.1.1.3")
    assert table.traffic(8)
    assert table.tunnels[1].remote == ip_address("20.1.1.4")
    assert table.before.tunnels[1].remote == ip_address("20.1.1.3")


def test_counters(links, table):
    links.set(7, "gre1", received=5)
    assert table.counters(7)["rx_packets"] == 5
    assert table.counters(99) is None


def test_a_link_that_came_unnoticed_has_a_name(links, table):
    links.set(9, "gre9")
    assert table.link_name(9) == "gre9"
    assert table.link_name(0) is None


def test_the_running_kernel_is_asked():
    with_kernel = Links()
    try:
        loopback = Path("/sys/class/net/lo/ifindex").read_text()
        assert with_kernel.get(int(loopback)).name == "lo"
        assert with_kernel.get(0) is None
        assert xdp_program(int(loopback)) is None
        assert "lo" in [link.name for link in with_kernel.dump()]
    finally:
        with_kernel.close()
