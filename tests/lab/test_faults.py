# SPDX-License-Identifier: GPL-2.0-only
"""Every cause, broken on purpose: exactly that cause, and the fix that it prints mends it."""

from dataclasses import dataclass

import pytest

from tests.frames import gre_packet
from tests.lab.hosts import INNER_B, A, B, pair, tunnel_a, tunnel_b
from tests.lab.recorded import recorded
from tests.lab.session import explain_drop

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
    words: tuple[str, ...] = ()  # in the summary

    def break_it(self, a, b):
        b.ip(f"addr add {OTHER_B}/24 dev vb")
        if self.b is not None:
            tunnel_b(b, self.b, kind=self.b_kind or self.kind, up=self.up)
        if self.local == B:
            tunnel_a(a, self.a, kind=self.kind)
        else:
            tunnel_a(a, f"remote {self.local} {self.a}", kind=self.kind)


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
    "no-tunnel": Fault("no-tunnel", b=None, tunnel=None, words=(f"from {A} to {B}", "no key")),
    "no-tunnel, keyed": Fault("no-tunnel", a="key 5", b=None, key=5, tunnel=None, words=("key 5",)),
    "wrong-type": Fault("wrong-type", b_kind="gretap", words=("gre1 is a gretap tunnel",)),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_cause_is_named_and_its_fix_mends(fault):
    packet = gre_packet(
        A, fault.local, key=fault.key, protocol=_protocol(fault), payload=_payload(fault)
    )
    with pair() as (a, b), recorded(b) as capture, explain_drop(b) as session:
        fault.break_it(a, b)
        a.send("va", packet, times=SENT)
        session.wait_for_packets(SENT)
        (report,) = session.reports
        assert report["cause"] == fault.cause, report
        assert report["count"] == SENT
        assert (report["remote"], report["local"]) == (A, fault.local)
        assert report["key"] == fault.key
        assert report["flags"] == (["key"] if fault.key is not None else [])
        assert report["protocol"] == f"{_protocol(fault):#06x}"
        assert report["tunnel"] == fault.tunnel
        assert report["iif"] == "vb"
        assert report["netns"] == b.namespace.inode
        assert report["kernel"]["function"] == "gre_rcv"
        assert report["confidence"] == "certain"
        for words in fault.words:
            assert words in report["summary"]
        capture.agrees_with(session)
        _mend(b, report)
        if fault.cause in ("no-tunnel", "wrong-type"):
            b.ip(f"addr add {INNER_B}/30 dev gre1")
        with session.quiet():
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
