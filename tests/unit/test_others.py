# SPDX-License-Identifier: GPL-2.0-only
"""The tunnels of other namespaces: whoever makes thousands of them costs no more than a moment."""

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from gretrace.errors import PrerequisiteError
from gretrace.host import census, gre_link, others
from gretrace.host.namespaces import Namespace
from gretrace.host.others import OtherNamespaces
from gretrace.kernel.lookup import Tables
from gretrace.kernel.surroundings import Elsewhere, Nowhere
from gretrace.verdicts import explain
from tests.frames import gre_packet
from tests.unit.cases import A, B, case, tunnel


class Link:
    kind = "gre"

    def __init__(self, index):
        self.index, self.name = index, f"gre{index}"


class World:
    """Namespaces of so many links, each of which takes so long to read."""

    def __init__(self, links, seconds=0.001):
        self.links, self.seconds = links, seconds
        self.now, self.reads, self.inside, self.open = 0.0, 0, None, 0

    def namespaces(self):
        return [Namespace(inode, Path(f"/run/netns/{inode}"), str(inode)) for inode in self.links]

    @contextmanager
    def entered(self, namespace):
        if self.links[namespace.inode] is None:
            raise PrerequisiteError("it is gone", "look again")
        self.inside = namespace.inode
        yield

    def dump_some(self, at_most, is_late):
        self.reads += 1
        found = [Link(number) for number in range(1, self.links[self.inside] + 1)]
        for link in found:
            self.now += self.seconds
            if link.index > at_most or is_late():
                return None
        return found

    def close(self):
        self.open -= 1

    def make(self):
        self.open += 1
        return self


@pytest.fixture
def made(monkeypatch):
    def make(links, **more):
        world = World(links, **more)
        monkeypatch.setattr(others, "all_namespaces", world.namespaces)
        monkeypatch.setattr(census, "entered", world.entered)
        monkeypatch.setattr(census, "Links", world.make)
        monkeypatch.setattr(
            gre_link, "read_tunnel", lambda link, _kind, inode, _names: replace(
                tunnel(link.name, ifindex=link.index), netns=inode
            ),
        )  # fmt: skip
        return world, OtherNamespaces(clock=lambda: world.now)

    return make


OWN = Namespace(1, Path("/proc/self/ns/net"))


def test_others_are_read_and_those_without_tunnels_or_entry_are_passed_over(made):
    world, there = made({1: 5, 2: 2, 3: 0, 4: None})
    read = there.than(OWN)
    assert [(netns.name, len(tables.tunnels)) for netns, tables in read.found] == [("2", 2)]
    assert read.left_out == 0
    assert world.open == 0


def test_thousands_of_namespaces_take_a_moment_and_the_rest_is_counted(made):
    world, there = made({1: 0, **dict.fromkeys(range(2, 5002), 1)})
    read = there.than(OWN)
    assert world.now < others.PATIENCE + 0.01
    assert len(read.found) + read.left_out == 5000
    assert len(read.found) > 900
    # For a while that is what there is, whoever asks: most of the time is left for all else.
    reads = world.reads
    other = there.than(Namespace(7, Path("/run/netns/7"), "7"))
    assert world.reads == reads
    assert len(other.found) == len(read.found) - 1
    assert other.left_out == read.left_out + 1, "that of the first was not looked into"
    world.now += 1 + others.REST * others.PATIENCE
    there.than(OWN)
    assert world.reads > reads
    assert world.open == 0


def test_one_with_very_many_links_does_not_hide_those_behind_it(made):
    _, there = made({1: 0, 2: others.LINKS_AT_MOST + 1, 3: 1}, seconds=1e-6)
    read = there.than(OWN)
    assert [netns.name for netns, _ in read.found] == ["3"]
    assert read.left_out == 1


def test_a_stop_ends_it(made):
    world, _ = made({1: 0, **dict.fromkeys(range(2, 5002), 1)})
    there = OtherNamespaces(lambda: world.reads >= 3, clock=lambda: 0.0)
    assert there.than(OWN).left_out > 4990


class Crowd(Nowhere):
    def elsewhere(self):
        return Elsewhere([], 4000)


def test_what_was_left_out_is_said():
    lone = case(gre_packet(A, B, key=1))
    told = explain(replace(lone, tables=Tables(), host=Crowd()))
    assert told.cause == "no-tunnel"
    assert "4000 other network namespaces were not looked into" in told.finding.evidence[-1]
    assert "not looked into" not in " ".join(explain(lone).finding.evidence)
