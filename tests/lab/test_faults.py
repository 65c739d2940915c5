# SPDX-License-Identifier: GPL-2.0-only
"""Every cause, broken on purpose: exactly that cause, and the fix that it prints mends it."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

from tests.frames import gre_packet
from tests.lab.bystander import beside
from tests.lab.hosts import INNER_A, INNER_B, B, Host, pair, tunnel
from tests.lab.recorded import recorded
from tests.lab.session import Session, causes_seen, explain_drop

ETH_P_TEB = 0x6558
OTHER_B = "20.1.1.3"
SENT = 5


@dataclass(frozen=True)
class Fault:
    """B is broken for what A sends."""

    cause: str
    a: str = ""  # attributes of A's tunnel
    b: str | None = ""  # attributes of B's; None: there is none
    kind: str = "gre"
    b_kind: str | None = None
    up: bool = True
    key: int | None = None  # of the packet
    local: str = B
    tunnel: str | None = "gre1"
    words: tuple[str, ...] = ()  # in the summary, with REMOTE for A's address

    def break_it(self, a, b, remote):
        if self.b is not None:
            ends, kind = f"local {B} remote {remote}", self.b_kind or self.kind
            tunnel(b, f"{ends} {self.b}", kind=kind, address=INNER_B, up=self.up)
        tunnel(a, f"local {remote} remote {self.local} {self.a}", kind=self.kind, address=INNER_A)


FAULTS = {
    "key-mismatch": Fault(
        "key-mismatch", a="key 2", b="key 1", key=2, words=("gre1 expects key 1", "carry key 2")
    ),
    "key-mismatch, asymmetric": Fault(
        "key-mismatch", a="ikey 9 okey 2", b="ikey 1 okey 9", key=2, words=("expects key 1",)
    ),
    "key-mismatch, with key 0": Fault(
        "key-mismatch", a="key 0", b="key 1", key=0, words=("expects key 1", "carry key 0")
    ),
    "key-mismatch, gretap": Fault(
        "key-mismatch", a="key 2", b="key 1", key=2, kind="gretap", words=("gre1 expects key 1",)
    ),
    "key-missing": Fault("key-missing", b="key 1", words=("expects key 1", "carry no key")),
    "key-missing, key 0": Fault("key-missing", b="key 0", words=("expects key 0", "no key")),
    "key-unexpected": Fault(
        "key-unexpected",
        a="key 3232235521",
        key=3232235521,
        words=("gre1 has no key", "key 3232235521 (192.168.0.1)"),
    ),
    "key-unexpected, key 0": Fault("key-unexpected", a="key 0", key=0, words=("carry key 0",)),
    "local-mismatch": Fault(
        "local-mismatch",
        a="key 7",
        b="key 7",
        key=7,
        local=OTHER_B,
        words=(f"listens on {B}", f"sends to {OTHER_B}"),
    ),
    "tunnel-down": Fault("tunnel-down", up=False, words=("gre1 fits", "down")),
    "tunnel-down, gretap": Fault("tunnel-down", up=False, kind="gretap", words=("down",)),
    "no-tunnel": Fault("no-tunnel", b=None, tunnel=None, words=(f"from REMOTE to {B}", "no key")),
    "no-tunnel, keyed": Fault("no-tunnel", a="key 5", b=None, key=5, tunnel=None, words=("key 5",)),
    "wrong-type": Fault("wrong-type", b_kind="gretap", words=("gre1 is a gretap tunnel",)),
}


@dataclass
class Lab:
    """A and B on one wire, and one explain-drop for all faults: its start is what takes longest.

    Each fault has an address of A's to itself, by which its reports are known.
    """

    a: Host
    b: Host
    session: Session
    remotes: dict[str, str]
    works_on: Callable[[], None]  # of the tunnel beside
    expected: dict[str, str] = field(default_factory=dict)  # the cause of each remote so far

    def reports(self, remote):
        return [report for report in self.session.reports if report["remote"] == remote]


@pytest.fixture(scope="module")
def lab():
    remotes = {name: f"20.1.1.{number}" for number, name in enumerate(FAULTS, 10)}
    with pair() as (a, b):
        b.ip(f"addr add {OTHER_B}/24 dev vb")
        a.ip(*(f"addr add {remote}/24 dev va" for remote in remotes.values()))
        with beside(a, b) as works_on, explain_drop(b) as session:
            lab = Lab(a, b, session, remotes, works_on)
            yield lab
            # The end tells every count exactly: no ping through what was mended was dropped.
            assert session.stop() == (3 if lab.expected else 0), session.stderr
        counts = {(r["remote"], r["cause"]): r["count"] for r in session.reports}
        assert counts == dict.fromkeys(lab.expected.items(), SENT)
        assert len(session.reports) == len(lab.expected)


@pytest.mark.parametrize("name", FAULTS)
def test_cause_is_named_and_its_fix_mends(name, lab):
    fault, remote, a, b = FAULTS[name], lab.remotes[name], lab.a, lab.b
    packet = gre_packet(
        remote, fault.local, key=fault.key, protocol=_protocol(fault), payload=_payload(fault)
    )
    with recorded(b) as capture, ExitStack() as stack:
        for host in (a, b):
            stack.callback(host.try_ip, "link del gre1")
        fault.break_it(a, b, remote)
        a.send("va", packet, times=SENT)
        lab.session.wait_for(
            lambda _: sum(report["count"] for report in lab.reports(remote)) >= SENT, "report"
        )
        (report,) = lab.reports(remote)
        lab.expected[remote] = report["cause"]
        causes_seen.add(report["cause"])
        assert report["cause"] == fault.cause, report
        assert report["count"] == SENT
        assert (report["remote"], report["local"]) == (remote, fault.local)
        assert report["key"] == fault.key
        assert report["flags"] == (["key"] if fault.key is not None else [])
        assert report["protocol"] == f"{_protocol(fault):#06x}"
        assert report["tunnel"] == fault.tunnel
        assert report["iif"] == "vb"
        assert report["netns"] == b.namespace.inode
        assert report["kernel"]["function"] == "gre_rcv"
        assert report["confidence"] == "certain"
        for words in fault.words:
            assert words.replace("REMOTE", remote) in report["summary"]
        capture.agrees_with([report])
        _mend(b, report)
        lab.works_on()
        if fault.cause in ("no-tunnel", "wrong-type"):
            b.ip(f"addr add {INNER_B}/30 dev gre1")
        assert a.ping(INNER_B, count=2)


def _protocol(fault):
    return ETH_P_TEB if fault.kind == "gretap" else 0x0800


def _payload(fault):
    """For gretap an Ethernet frame of the protocol for local experiments."""
    destination, source = b"\xff" * 6, b"\x02" + bytes(5)
    return destination + source + b"\x88\xb5" + bytes(46) if fault.kind == "gretap" else None


def _mend(b, report):
    fix = report["fix"][0]
    assert fix["where"] == "here"
    assert fix["command"].startswith("ip link ")
    b.shell(fix["command"])
