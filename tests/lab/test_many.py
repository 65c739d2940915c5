# SPDX-License-Identifier: GPL-2.0-only
"""A thousand tunnels: the table that follows changes is the one that a new look would give."""

import random
from contextlib import closing, contextmanager
from dataclasses import replace

import pytest

from gretrace.host.iproute import open_iproute
from gretrace.host.namespaces import entered
from gretrace.host.netlink import Links
from gretrace.host.tunnels import TunnelTable
from gretrace.host.tunnels_file import parse_tunnels
from tests.lab.hosts import hosts

COUNT = 1000
IPV4_KINDS, IPV6_KINDS = ("gre", "gretap", "erspan"), ("ip6gre", "ip6gretap", "ip6erspan")
KIND_OF = dict(enumerate((*IPV4_KINDS, *IPV6_KINDS)))
ROUNDS, CHANGES = 25, 8


def attributes(kind, number, dice):
    """What makes a tunnel one of its own, and a choice of all else that it may have."""
    high, low = divmod(number, 250)
    if kind in IPV6_KINDS:
        words = [f"local 2001:db8::1 remote 2001:db8:1::{number + 1:x}"]
    else:
        words = [f"local 20.1.1.1 remote 20.9.{high}.{low + 1}"]
    if "erspan" in kind:
        version = dice.choice(["erspan_ver 1 erspan 5", "erspan_ver 2 erspan_dir egress"])
        return f"{words[0]} seq key {number % 1000 + 1} {version}"
    words.append(dice.choice(["", "key {0}", "ikey {0} okey {1}", "ikey {0}", "okey 0", "key 0"]))
    words += [word for word in ("icsum", "ocsum", "iseq", "oseq") if dice.random() < 0.3]
    if dice.random() < 0.3:
        words.append("dev under")
    words.append(dice.choice(["", "ttl 255", "ttl 64"]))
    if kind == "gre":
        words.append(dice.choice(["", "tos 0x10", "tos inherit"]))
    return " ".join(words).format(number, number + 1)


@contextmanager
def many(count):
    with hosts("many", "other") as (host, other):
        dice = random.Random(4)
        lines = ["link add under type dummy", "link add last type dummy"]
        for number in range(count):
            kind = KIND_OF[number % len(KIND_OF)]
            lines.append(f"link add t{number} type {kind} {attributes(kind, number, dice)}")
            if number % 3 == 0:
                lines.append(f"link set t{number} up")
        host.ip(*lines)
        yield host, other


@pytest.fixture(scope="module")
def made():
    with many(COUNT) as both:
        yield both


@pytest.fixture
def table(made):
    with closing(TunnelTable(made[0].namespace)) as table:
        yield table


@pytest.fixture
def asked(monkeypatch):
    """The questions that tables asked the kernel; None for all links."""
    questions = []
    get, dump = Links.get, Links.dump
    monkeypatch.setattr(Links, "get", lambda self, i: questions.append(i) or get(self, i))
    monkeypatch.setattr(Links, "dump", lambda self, k: questions.append(None) or dump(self, k))
    return questions


def fresh(host):
    with closing(TunnelTable(host.namespace)) as table:
        return table.tunnels


def find(table, name):
    return next(tunnel for tunnel in table.tunnels if tunnel.name == name)


def differences(ours, theirs):
    """What differs, tunnel by tunnel; two long lists say nothing to a reader."""
    ours, theirs = ({t.ifindex: t for t in tunnels} for tunnels in (ours, theirs))
    return [
        (ours.get(index), theirs.get(index))
        for index in ours.keys() | theirs.keys()
        if ours.get(index) != theirs.get(index)
    ]


def test_the_table_says_what_ip_says(made, table):
    host, _ = made
    said = parse_tunnels(host.run("ip", "-d", "-j", "link", "show").stdout, "ip")
    ours = [replace(tunnel, netns=0) for tunnel in table.tunnels]
    assert len(ours) >= COUNT
    assert differences(ours, said) == []


def test_a_change_costs_one_question(made, table, asked):
    host, _ = made
    before = table.tables
    host.ip("link set t0 down")
    assert table.take_notice()
    assert not find(table, "t0").up
    assert asked == [find(table, "t0").ifindex]
    assert table.before is before
    table.settle()
    host.ip("link set t0 up")
    assert table.take_notice()
    assert find(table, "t0").up
    assert len(asked) == 2
    assert not table.take_notice()


def test_a_tunnel_that_changes_comes_and_goes(made, table, asked):
    host, _ = made
    host.ip("link change t0 type gre local 20.1.1.1 remote 20.9.0.1 key 7 icsum")
    assert table.take_notice()
    assert (find(table, "t0").ikey, find(table, "t0").icsum) == (7, True)
    host.ip("link add new type gre remote 9.9.9.9 dev last")
    assert table.take_notice()
    assert find(table, "new").link_name == "last"
    host.ip("link set last name first")
    assert table.take_notice()
    assert find(table, "new").link_name == "first"
    host.ip("link del new")
    assert table.take_notice()
    assert [t for t in table.tunnels if t.name == "new"] == []
    assert [t for t in table.before.tunnels if t.name == "new"] != []
    host.ip("link set first name last")
    assert None not in asked
    assert table.take_notice()
    assert differences(table.tunnels, fresh(host)) == []


def test_a_change_by_the_old_interface(made, table):
    """`ip tunnel` tells of the key before the flag is set that makes it one."""
    host, _ = made
    host.ip("tunnel add old mode gre local 20.1.1.1 remote 20.8.8.8", "link set old up")
    assert table.take_notice()
    assert find(table, "old").ikey is None
    host.ip("tunnel change old mode gre local 20.1.1.1 remote 20.8.8.8 key 9")
    assert table.take_notice()
    assert (find(table, "old").ikey, find(table, "old").stray_ikey) == (9, 0)
    host.ip("tunnel del old")


def test_a_key_without_its_flag(made, table):
    host, _ = made
    with entered(host.namespace), open_iproute() as netlink:
        netlink.link("add", ifname="stray", kind="gre", gre_remote="9.9.9.8", gre_ikey=5)
    assert table.take_notice()
    assert (find(table, "stray").ikey, find(table, "stray").stray_ikey) == (None, 5)
    host.ip("link del stray")


def test_a_tunnel_that_is_moved(made, table):
    host, other = made
    host.ip("link add moved type gre remote 9.9.9.7 dev under")
    with closing(TunnelTable(other.namespace)) as there:
        host.ip(f"link set moved netns {other.name}")
        assert table.take_notice()
        assert there.take_notice()
        assert [t for t in table.tunnels if t.name == "moved"] == []
        moved = find(there, "moved")
        assert moved.link == host.index("under")
        assert moved.link_name is None
        assert differences(there.tunnels, fresh(other)) == []
        said = parse_tunnels(other.run("ip", "-d", "-j", "link", "show").stdout, "ip")
        ours = [replace(tunnel, netns=0) for tunnel in there.tunnels]
        assert differences(ours, said) == []
        other.ip("link del moved")


def test_more_changes_than_a_socket_holds(made, table, monkeypatch):
    monkeypatch.setattr("gretrace.host.netlink.CHANGES_KEPT", 1)
    host, _ = made
    with closing(TunnelTable(host.namespace)) as narrow:
        host.ip(*(f"link set t{number} mtu 1300" for number in range(200)))
        assert narrow.take_notice()
        assert narrow._all_stale
        assert table.take_notice()
        assert not table._all_stale
        assert differences(narrow.tunnels, table.tunnels) == []
        assert find(narrow, "t199").mtu == 1300


class Chaos:
    """Changes at random, each one that the kernel accepts."""

    def __init__(self, host, other, seed):
        self.host, self.other, self.dice = host, other, random.Random(seed)
        self.names = {f"t{number}": number for number in range(COUNT)}
        self.away = {}
        self.next = COUNT

    def round(self):
        lines = []
        for _ in range(self.dice.randrange(1, CHANGES)):
            change = self.dice.choice(
                (self.add, self.delete, self.set, self.set, self.keys, self.keys, self.rename)
            )
            lines += change(self.dice.choice(list(self.names)))
        self.host.ip(*lines)
        if self.dice.random() < 0.5:
            self.move()

    def kind(self, name):
        return KIND_OF[self.names[name] % len(KIND_OF)]

    def add(self, _name):
        number, self.next = self.next, self.next + 1
        self.names[f"t{number}"] = number
        kind = self.kind(f"t{number}")
        return [f"link add t{number} type {kind} {attributes(kind, number, self.dice)}"]

    def delete(self, name):
        del self.names[name]
        return [f"link del {name}"]

    def set(self, name):
        return [f"link set {name} {self.dice.choice(['up', 'down', 'mtu 1280', 'mtu 1300'])}"]

    def keys(self, name):
        """Of a tunnel that is down the kernel does not tell, so it is up afterwards."""
        kind = self.kind(name)
        words = attributes(kind, self.names[name], self.dice)
        return [f"link change {name} type {kind} {words}", f"link set {name} down up"]

    def rename(self, name):
        number = self.names.pop(name)
        self.next += 1
        new = f"r{self.next}"
        self.names[new] = number
        return [f"link set {name} down", f"link set {name} name {new}"]

    def move(self):
        if self.away and self.dice.random() < 0.5:
            name, number = self.away.popitem()
            self.other.ip(f"link set {name} netns {self.host.name}")
            self.names[name] = number
        else:
            name = self.dice.choice(list(self.names))
            self.away[name] = self.names.pop(name)
            self.host.ip(f"link set {name} netns {self.other.name}")


def test_after_any_changes_the_table_is_what_a_new_look_gives(asked):
    with (
        many(COUNT) as (host, other),
        closing(TunnelTable(host.namespace)) as here,
        closing(TunnelTable(other.namespace)) as there,
    ):
        chaos = Chaos(host, other, 1)
        for number in range(ROUNDS):
            chaos.round()
            asked.clear()
            before, noticed = here.tables, here.take_notice()
            here.settle()
            changed = here.tables is not before
            assert None not in asked
            assert noticed or not changed
            assert here.before is (before if changed else None)
            there.take_notice()
            where = f"round {number} of seed 1"
            assert differences(here.tunnels, fresh(host)) == [], where
            assert differences(there.tunnels, fresh(other)) == [], where
            names = {t.name for t in here.tunnels if not t.fallback}
            assert names == set(chaos.names), where
