# SPDX-License-Identifier: GPL-2.0-only
"""Tables of namespaces that come and go: what is gone is let go of, and known when it is back."""

import select
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from gretrace.errors import PrerequisiteError
from gretrace.host import tables
from gretrace.host.namespaces import Departures, Namespace, is_there, own_namespace
from gretrace.host.tables import SEARCH, TunnelTables
from tests.children import Child


class FakeTable:
    def __init__(self, namespace):
        if namespace.name == "forbidden":
            raise PrerequisiteError("cannot enter it", "run as root")
        self.namespace, self.cookie, self.closed = namespace, int(namespace.name), False

    def close(self):
        assert not self.closed
        self.closed = True


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def world(monkeypatch, tmp_path):
    """Namespaces that a test makes: `there` by inode, each name its cookie."""
    there = SimpleNamespace(found={}, searches=0, now=100.0, takes=0.0)

    def every():
        there.searches += 1
        there.now += there.takes
        return list(there.found.values())

    monkeypatch.setattr(tables, "TunnelTable", FakeTable)
    monkeypatch.setattr(tables, "all_namespaces", every)
    monkeypatch.setattr(tables, "is_there", lambda n: there.found.get(n.inode) == n)
    there.add = lambda inode, name, path=tmp_path: there.found.update(
        {inode: Namespace(inode, Path(path) / name, name)}
    )
    there.tables = TunnelTables([], find_more=True, clock=lambda: there.now)
    yield there
    there.tables.close()


def test_a_namespace_that_is_gone_is_let_go_of(world):
    world.add(5, "1")
    table = world.tables.of(5)
    assert world.tables.departed() == []
    del world.found[5]
    assert world.tables.departed() == [table]
    assert not table.closed, "what it dropped is to be judged first"
    world.tables.let_go([table])
    assert table.closed
    assert world.tables.opened() == []


def test_a_namespace_that_has_another_name_or_process_is_kept(world):
    world.add(5, "1")
    table = world.tables.of(5)
    world.add(5, "1", path="/elsewhere")
    assert world.tables.departed() == []
    assert table.namespace.path == Path("/elsewhere/1")


def test_an_inode_that_is_used_again_is_another_namespace(world):
    world.add(5, "1")
    first = world.tables.of(5, 1)
    assert first
    world.tables.let_go([first])
    world.now += SEARCH
    world.add(5, "2")
    assert world.tables.of(5, 1) is None
    second = world.tables.of(5, 2)
    assert second.cookie == 2
    assert world.tables.of(5, 0) is second, "where the kernel does not tell, the inode must do"


def test_what_was_not_found_is_found_once_it_is_there(world):
    assert world.tables.of(5) is None
    world.add(5, "1")
    assert world.tables.of(5) is None
    assert world.searches == 1, "a flood from nowhere must not look for it at each packet"
    world.now += SEARCH
    assert world.tables.of(5).cookie == 1


def test_what_is_new_is_looked_for_at_once_but_not_all_the_time(world):
    world.takes = 0.2
    for inode in range(10):
        assert world.tables.of(inode, 1) is None
    assert world.searches == 3, "half a second at once"
    world.now += 2
    for inode in range(10, 20):
        assert world.tables.of(inode, 1) is None
    assert world.searches == 4, "and a tenth of the time in the long run"


def test_what_could_not_be_entered_is_tried_again(world):
    world.add(5, "forbidden")
    assert world.tables.of(5) is None
    world.add(5, "1")
    assert world.tables.of(5) is None
    world.now += SEARCH
    assert world.tables.of(5)


def test_only_what_was_named_is_watched(world):
    alone = TunnelTables([], find_more=False)
    world.add(5, "1")
    assert alone.of(5) is None
    table = alone.open(world.found[5])
    assert alone.are_all([table])
    assert not world.tables.are_all([table])
    alone.close()
    assert world.searches == 0


def test_the_end_of_a_process_rings(world):
    child = Child([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    world.found[5] = Namespace(5, Path(f"/proc/{child.pid}/ns/net"), "1")
    before = descriptors()
    table = world.tables.of(5)
    (process,) = [r for r in world.tables.readables() if isinstance(r, tables.Process)]
    child.communicate()
    assert select.select([process], [], [], 10)[0] == [process]
    world.tables.let_go([table])
    assert descriptors() == before - 1, "the pipe to the child is closed too"


def test_a_name_that_goes_rings(tmp_path):
    (tmp_path / "b").touch()
    departures = Departures(tmp_path)
    assert select.select([departures], [], [], 0)[0] == []
    (tmp_path / "b").unlink()
    assert select.select([departures], [], [], 10)[0] == [departures]
    departures.drain()
    assert select.select([departures], [], [], 0)[0] == []
    departures.close()


def test_a_path_that_leads_elsewhere_by_now_is_not_the_namespace():
    own = own_namespace()
    assert is_there(own)
    assert not is_there(Namespace(own.inode + 1, own.path))
    assert not is_there(Namespace(own.inode, Path("/nowhere")))
