# SPDX-License-Identifier: GPL-2.0-only
"""A record when a trouble begins and one when it has ended, however often it comes."""

import os
import socket
import struct
from contextlib import closing
from dataclasses import replace

import pytest

from gretrace.model import Fix, Report, Tuple, Where
from gretrace.service import chronicle
from gretrace.service.chronicle import Chronicle
from gretrace.service.ledger import NOWHERE
from gretrace.service.systemd import LONGEST, Journal, Manager
from gretrace.service.troubles import QUIET, QUIET_AT_MOST, Troubles
from gretrace.verdicts import explain
from tests.unit.cases import case, tunnel

PLACE = ("", "gre1")
ENTRY = ("key-mismatch", *PLACE)
OTHER = ("no-tunnel", *NOWHERE)


def report(count, verdict=None):
    lone = case(None, tunnel(key=1))
    seen = Tuple(4, lone.drop.packet.remote, lone.drop.packet.local, None, (), 0x0800)
    return Report(verdict or explain(lone), lone.drop, "vb", None, seen, count, 1, 2)


def test_a_trouble_ends_once_the_tunnel_receives_again():
    troubles = Troubles()
    assert troubles.note(ENTRY, report(3), 0)
    assert troubles.note(ENTRY, report(9), 5) is None
    assert not troubles.is_due(QUIET)
    assert troubles.is_due(5 + QUIET)
    # Silence is no mending.
    for now in range(40, 400, 15):
        assert list(troubles.ended({PLACE: 7}, now)) == []
    (over,) = troubles.ended({PLACE: 8}, 400)
    assert over.is_mended
    assert (over.count - over.before, over.dropped) == (9, 5)
    assert not troubles.is_due(1e9)


def test_what_is_only_silent_has_ended_after_an_hour():
    troubles = Troubles()
    troubles.note(ENTRY, report(3), 0)
    assert list(troubles.ended({PLACE: 7}, QUIET_AT_MOST - 1)) == []
    (over,) = troubles.ended({PLACE: 7}, QUIET_AT_MOST)
    assert not over.is_mended


def test_what_was_received_before_the_last_drop_mends_nothing():
    troubles = Troubles()
    troubles.note(ENTRY, report(3), 0)
    assert list(troubles.ended({PLACE: 7}, 10)) == []
    troubles.note(ENTRY, report(4), 20)
    assert list(troubles.ended({PLACE: 8}, 20 + QUIET)) == []
    assert list(troubles.ended({PLACE: 8}, 35 + QUIET)) == []
    assert len(list(troubles.ended({PLACE: 9}, 50 + QUIET))) == 1


def test_without_a_tunnel_it_ends_when_nothing_comes_any_more():
    troubles = Troubles()
    troubles.note(OTHER, report(3), 0)
    troubles.note(("tunnel-down", "", "gone"), report(2), 0)
    assert {t.entry[0] for t in troubles.ended({}, QUIET)} == {"no-tunnel", "tunnel-down"}


def test_one_that_comes_back_has_to_be_quiet_for_longer():
    troubles, now, quiet = Troubles(), 0.0, []
    for count in range(1, 12):
        begun = troubles.note(OTHER, report(count), now)
        assert begun
        assert begun.count - begun.before == 1
        quiet.append(begun.quiet)
        assert not list(troubles.ended({}, now + begun.quiet - 1))
        now += begun.quiet
        assert len(list(troubles.ended({}, now))) == 1
    assert quiet[:4] == [QUIET, 2 * QUIET, 4 * QUIET, 8 * QUIET]
    assert max(quiet) == QUIET_AT_MOST
    # After an hour it is a new one.
    assert troubles.note(OTHER, report(99), now + QUIET_AT_MOST).quiet == QUIET


def test_troubles_are_bounded():
    troubles = Troubles(at_most=10)
    begun = [troubles.note(("c", "", f"gre{n}"), report(1), 0) for n in range(20)]
    assert sum(1 for each in begun if each) == 10
    assert len(list(troubles.ended({}, QUIET))) == 10
    # Those that ended make room.
    assert troubles.note(("c", "", "gre99"), report(1), QUIET)


@pytest.fixture
def journal(tmp_path):
    """A journal's socket, and what was written to it."""
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as reader:
        reader.bind(path)
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        with closing(Journal(path)) as made:
            made.reader = reader
            yield made


def parsed(data):
    """Read a record as journald does."""
    fields = {}
    while data:
        line, _, data = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            (size,) = struct.unpack("<Q", data[:8])
            value, data = data[8 : 8 + size], data[8 + size + 1 :]
        fields[name.decode()] = value.decode()
    return fields


def written(journal):
    found = []
    while True:
        try:
            found.append(parsed(journal.reader.recv(1 << 20)))
        except BlockingIOError:
            return found


def test_both_records_of_a_trouble(journal):
    now = 0.0
    made = Chronicle(journal, lambda: now)
    made.note(ENTRY, report(3))
    made.note(ENTRY, report(8))
    (begun,) = written(journal)
    assert begun["MESSAGE"].startswith("key-mismatch at gre1: gre1 expects key 1")
    assert begun["PRIORITY"] == "4"
    assert begun["GRETRACE_CAUSE"] == "key-mismatch"
    assert (begun["GRETRACE_NAMESPACE"], begun["GRETRACE_TUNNEL"]) == PLACE
    assert (begun["GRETRACE_REMOTE"], begun["GRETRACE_LOCAL"]) == ("20.1.1.2", "20.1.1.1")
    assert begun["GRETRACE_KEY"] == ""
    assert "\nip link change dev gre1" in begun["GRETRACE_FIX"]
    assert not made.is_due()
    now = QUIET
    assert made.is_due()
    made.settle({PLACE: 0})
    assert not made.is_due()
    now += chronicle.CHECK
    made.settle({PLACE: 5})
    (ended,) = written(journal)
    assert ended["MESSAGE"] == ("key-mismatch at gre1 mended: 8 packets were dropped, it receives")
    assert (ended["GRETRACE_EVENT"], ended["GRETRACE_COUNT"]) == ("mended", "8")
    assert begun["MESSAGE_ID"] != ended["MESSAGE_ID"]
    assert made.lost == 0


def test_a_journal_gets_no_more_than_it_can_bear(journal):
    now = 0.0
    made = Chronicle(journal, lambda: now)
    records = 0
    for n in range(1000):
        made.note(("c", "", f"gre{n}"), report(1))
        records += len(written(journal))
    assert records == chronicle.BURST
    assert made.lost == 1000 - chronicle.BURST
    now = 2.0
    made.note(("c", "", "last"), report(1))
    (last,) = written(journal)
    assert last["GRETRACE_LEFT_OUT"] == str(1000 - chronicle.BURST)


def test_names_of_strangers_make_no_field_of_their_own(journal):
    made = Chronicle(journal, lambda: 0.0)
    evil = "x\nPRIORITY=0\x1b]0;\udcff"
    verdict = report(1).verdict
    finding = replace(verdict.finding, summary=evil, evidence=(evil,), fix=(Fix(Where.HERE, evil),))
    made.note(("c", "", "gre1"), report(1, replace(verdict, finding=finding)))
    (record,) = written(journal)
    assert record["PRIORITY"] == "4"
    assert "\x1b" not in "".join(record.values())
    assert record["MESSAGE"].splitlines()[1] == r"PRIORITY=0\x1b]0;\xff"


def test_what_no_journal_takes_is_counted(tmp_path, journal):
    assert journal.send({"MESSAGE": "x" * 10 * LONGEST})
    assert len(written(journal)[0]["MESSAGE"]) == LONGEST
    with closing(Journal(str(tmp_path / "none"))) as nowhere:
        assert not nowhere.send({"MESSAGE": "x"})
        assert nowhere.lost == 1


@pytest.mark.parametrize("abstract", [False, True])
def test_the_manager_hears_as_often_as_it_wants(tmp_path, abstract):
    name = f"gretrace-test-{os.getpid()}"
    path, given = (f"\0{name}", f"@{name}") if abstract else (str(tmp_path / "n"),) * 2
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as reader:
        reader.bind(path)
        manager = Manager({"NOTIFY_SOCKET": given, "WATCHDOG_USEC": "60000000"})
        manager.tell("READY=1", "STATUS=well")
        for _ in range(3):
            manager.is_well()
        assert reader.recv(100) == b"READY=1\nSTATUS=well"
        assert reader.recv(100) == b"WATCHDOG=1"
        with pytest.raises(BlockingIOError):
            reader.recv(100)


@pytest.mark.parametrize(
    "environment",
    [{}, {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "no"}, {"WATCHDOG_PID": "1"}],
)
def test_without_a_manager_nothing_is_said_and_nothing_fails(environment):
    manager = Manager(environment)
    manager.tell("READY=1")
    manager.is_well()
