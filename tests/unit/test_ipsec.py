# SPDX-License-Identifier: GPL-2.0-only
import errno
import random
import struct
from contextlib import suppress
from ipaddress import ip_address, ip_network

import pytest

from gretrace.engine.hooks import HOOKS
from gretrace.errors import PrerequisiteError
from gretrace.host.ipsec import parse_dump
from gretrace.keepalive import respond
from gretrace.kernel.ipsec import Policy, Protection, protection
from gretrace.model import Tunnel

A, B, C = (ip_address(f"20.1.1.{number}") for number in (2, 1, 3))
A6, B6 = ip_address("fd00::2"), ip_address("fd00::1")
NEW_POLICY, DONE, ERROR = 0x13, 3, 2
# ip xfrm policy add src 1.0.0.0/8 dst 2.0.0.0/7 proto gre key 7 dir out priority 9 action block
# mark 5 mask 0xff: as a v5.10 kernel dumped it.
GENUINE = (
    bytes.fromhex("d000000013000200010000008100000002")
    + bytes(15)
    + bytes.fromhex("01")
    + bytes(16)
    + bytes.fromhex("07ffff0000ffff020007082f")
    + bytes(11)
    + b"\xff" * 32
    + bytes(48)
    + bytes.fromhex("d739016b")
    + bytes(12)
    + bytes.fromhex("09000000210000000101")
    + bytes(6)
    + bytes.fromhex("0a0010")
    + bytes(9)
    + bytes.fromhex("0c00150005000000ff000000")
)


def attribute(kind, data):
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def template(*, optional=False):
    one = bytearray(64)
    one[50] = optional
    return bytes(one)


TEMPLATE = template()


def record(source, destination, *, direction=1, templates=(TEMPLATE,), mark=None, if_id=None,
           protocol=47, priority=0, block=False, key=None, ifindex=0):  # fmt: skip
    """A policy as struct xfrm_userpolicy_info has it, with its attributes."""
    to, of = ip_network(destination), ip_network(source)
    data = bytearray(168)
    data[: to.max_prefixlen // 8] = to.network_address.packed
    data[16 : 16 + of.max_prefixlen // 8] = of.network_address.packed
    if key is not None:
        struct.pack_into(">HHHH", data, 32, key & 0xFFFF, 0xFFFF, key >> 16, 0xFFFF)
    struct.pack_into("=HBBB", data, 40, {4: 2, 6: 10}[to.version], to.prefixlen, of.prefixlen,
                     protocol)  # fmt: skip
    struct.pack_into("=i", data, 48, ifindex)
    struct.pack_into("=I", data, 152, priority)
    data[160], data[161] = direction, block
    if templates:
        data += attribute(5, b"".join(templates))
    if mark:
        data += attribute(21, struct.pack("=II", *mark))
    if if_id is not None:
        data += attribute(31, struct.pack("=I", if_id))
    return message(NEW_POLICY, bytes(data))


def message(kind, payload):
    return struct.pack("=IHHII", 16 + len(payload), kind, 2, 1, 0) + payload


def policies(*records):
    return parse_dump(b"".join(records))[0]


def tunnel(local=B, remote=A, **more):
    return Tunnel("gre1", 10, 1, "ip6gre" if local.version == 6 else "gre", local, remote, **more)


def test_a_policy_of_a_real_kernel_is_read():
    # It wants a mark, so a tunnel's packets do not meet it; with the mark cleared, they may.
    assert len(GENUINE) == 208
    assert parse_dump(GENUINE) == ([], False)
    (policy,) = policies(GENUINE.replace(bytes.fromhex("0c00150005"), bytes.fromhex("0c00150000")))
    assert policy == Policy(
        direction="out",
        source=ip_network("1.0.0.0/8"),
        destination=ip_network("2.0.0.0/7"),
        protocol=47,
        priority=9,
        key=7,
        key_mask=0xFFFFFFFF,
        block=True,
    )


def test_every_record_of_a_datagram_is_read():
    read = policies(
        record("20.1.1.1/32", "20.1.1.2/32"),
        record("20.1.1.2/32", "20.1.1.1/32", direction=0, templates=[template(optional=True)]),
        record("20.1.1.2/32", "20.1.1.1/32", direction=2),
        record("20.1.1.2/32", "20.1.1.1/32", direction=4),
        record("fd00::/64", "::/0", templates=[template(), template(optional=True)]),
        record("20.1.1.1/32", "20.1.1.2/32", if_id=7),
        record("20.1.1.1/32", "20.1.1.2/32", if_id=0, mark=(0, 0xFF), templates=[]),
    )
    assert [str(p) for p in read] == [
        "policy out 20.1.1.1/32 > 20.1.1.2/32",
        "policy in 20.1.1.2/32 > 20.1.1.1/32",
        "policy out fd00::/64 > ::/0",
        "policy out 20.1.1.1/32 > 20.1.1.2/32",
    ]
    assert [(p.transforms, p.optional) for p in read] == [
        (True, False), (True, True), (True, False), (False, False),
    ]  # fmt: skip


def test_the_end_and_an_error_are_told():
    assert parse_dump(message(DONE, bytes(4))) == ([], True)
    with pytest.raises(PermissionError):
        parse_dump(message(ERROR, struct.pack("=i", -errno.EPERM) + bytes(16)))


def test_any_bytes_are_survived():
    whole = record("20.1.1.1/32", "20.1.1.2/32") + GENUINE
    chance = random.Random(0)
    for size in range(len(whole)):
        parse_dump(whole[:size])
    for _ in range(5000):
        changed = bytearray(whole)
        for _ in range(chance.randrange(1, 6)):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        with suppress(OSError):  # it has become an error message
            parse_dump(bytes(changed))


OUT = {
    "to the peer": (record("20.1.1.1/32", "20.1.1.2/32"), True),
    "of any protocol": (record("20.1.1.1/32", "20.1.1.2/32", protocol=0), True),
    "of nets": (record("20.0.0.0/8", "0.0.0.0/0"), True),
    "with the tunnel's key": (record("20.1.1.1/32", "20.1.1.2/32", key=0x10007), True),
    "with another key": (record("20.1.1.1/32", "20.1.1.2/32", key=8), False),
    "by the device to the peer": (record("20.1.1.1/32", "20.1.1.2/32", ifindex=3), True),
    "by another device": (record("20.1.1.1/32", "20.1.1.2/32", ifindex=4), False),
    "that blocks": (record("20.1.1.1/32", "20.1.1.2/32", templates=[], block=True), True),
    "that lets pass": (record("20.1.1.1/32", "20.1.1.2/32", templates=[]), False),
    "of another protocol": (record("20.1.1.1/32", "20.1.1.2/32", protocol=17), False),
    "to another": (record("20.1.1.1/32", "20.1.1.3/32"), False),
    "from another": (record("20.1.1.3/32", "20.1.1.2/32"), False),
    "the other way": (record("20.1.1.2/32", "20.1.1.1/32"), False),
    "of the other family": (record("::/0", "::/0"), False),
}


@pytest.mark.parametrize(("dumped", "covered"), OUT.values(), ids=OUT)
def test_which_policy_covers_what_a_tunnel_sends(dumped, covered):
    found = protection(policies(dumped), tunnel(ikey=5, okey=0x10007), B, 3)
    assert found.inbound is None
    assert (found.outbound is not None) == covered


def test_what_arrives_has_the_addresses_and_the_key_of_the_other_way():
    read = policies(record("20.1.1.2/32", "20.1.1.1/32", direction=0, key=5))
    found = protection(read, tunnel(ikey=5, okey=7), B, 3)
    assert (found.inbound, found.outbound) == (read[0], None)
    assert protection(read, tunnel(ikey=7, okey=5), B, 3) == Protection()


def test_the_first_by_priority_decides_and_of_equals_the_oldest():
    bypass = {"templates": [], "protocol": 0}
    ends = ("20.1.1.1/32", "20.1.1.2/32")
    shielded = policies(record(*ends, priority=2), record(*ends, priority=1, **bypass))
    assert protection(shielded, tunnel(), B, 3) == Protection()
    oldest, newest = policies(record("20.1.1.0/24", "20.1.1.0/24"), record(*ends))
    assert protection([oldest, newest], tunnel(), B, 3).outbound is oldest


def test_a_tunnel_without_a_remote_has_many_peers():
    read = policies(
        record("20.1.1.1/32", "20.1.1.3/32"),
        record("20.1.1.1/32", "20.1.1.2/32", priority=0, templates=[]),
    )
    assert str(protection(read, tunnel(remote=None), B, None).outbound) == (
        "policy out 20.1.1.1/32 > 20.1.1.3/32"
    )
    assert protection(read, tunnel(remote=None), C, None) == Protection()


def one(direction, **more):
    return Policy(direction, ip_network("20.1.1.1"), ip_network("20.1.1.2"), 0, 0,
                  transforms=True, **more)  # fmt: skip


WORDS = {
    "both": (
        Protection(one("in"), one("out")),
        (
            "gre1 is protected by IPsec: keepalives outside it are dropped before the tunnel sees "
            "them (policy in 20.1.1.1/32 > 20.1.1.2/32); answers leave by it, as all that the "
            "tunnel sends (policy out 20.1.1.1/32 > 20.1.1.2/32)"
        ),
    ),
    "in": (Protection(one("in"), None), "; answers leave in plain text, as all that the tunnel"),
    "out": (Protection(None, one("out")), ": keepalives are answered whether they come by it or"),
    "optional in": (Protection(one("in", optional=True)), "come by it or not (policy in 20.1.1.1"),
    "optional out": (Protection(None, one("out", optional=True)), "where there is a state, else"),
    "blocked in": (Protection(one("in", block=True)), "no keepalive arrives (policy in 20.1.1.1"),
    "blocked out": (Protection(None, one("out", block=True)), "> 20.1.1.2/32 block)"),
}


@pytest.mark.parametrize(("found", "words"), WORDS.values(), ids=WORDS)
def test_what_is_said(found, words):
    assert words in found.describe(tunnel())


def test_nothing_is_said_where_no_policy_decides():
    assert Protection().describe(tunnel()) is None
    assert "towards peers that a policy names" in Protection(one("in")).describe(
        tunnel(remote=None)
    )


@pytest.mark.parametrize("direction", ["in", "out"])
def test_the_face_on_the_wire_is_refused_under_ipsec(monkeypatch, direction):
    monkeypatch.setattr(respond.trial, "answers", lambda _, hook: hook.name == "tc-wire")
    found = Protection(**{f"{direction}bound": one(direction)})
    with pytest.raises(PrerequisiteError, match=rf"past IPsec \(policy {direction} 20"):
        respond._choose(tunnel(B6, A6), "auto", found)
    hook, _ = respond._choose(tunnel(B6, A6), "auto", Protection())
    assert hook is HOOKS[-1]
    # A program that goes through the tunnel is as good as ever.
    monkeypatch.setattr(respond.trial, "answers", lambda _, hook: hook.name != "tc")
    assert respond._choose(tunnel(), "auto", found)[0].name == "xdp"
