# SPDX-License-Identifier: GPL-2.0-only
"""Whatever strangers write: one line at most, within a second, in little memory.

Each test goes on for --fuzz-seconds. What fails names its seed, which makes the same again.
"""

import contextlib
import io
import json
import random
import time
import tracemalloc
from ipaddress import ip_address

import pytest

from gretrace.capture import read_capture
from gretrace.engine.wanted import Wanted
from gretrace.errors import GretraceError
from gretrace.explain.reading import Reader, Scene, scene_of_tunnels
from gretrace.host.firewall.iptables import parse_iptables
from gretrace.host.firewall.nft import parse_nft
from gretrace.host.namespaces import find_namespace
from gretrace.host.tunnels_file import parse_tunnels
from gretrace.kernel.droppers import Ruleset
from gretrace.kernel.lookup import Query, Tables
from gretrace.lookups.predict import predict_elsewhere
from gretrace.render.record import JsonReports
from gretrace.render.text import TextReports
from tests.captures import Pcapng, ethernet, pcap
from tests.frames import answer, gre, gre_packet, ipv6
from tests.unit.cases import A, B, tunnel

A_CASE = 1.0  # second of the processor
MEMORY = 64 << 20

NASTY = [
    "$(id>&2)", "a;id", "`id`", "a'b", 'a"b', "a\\b", "-n", "--", "\x1b]52;c;AAAA\x07", "a\nb",
    "\u202eab", "\udcff", "x" * 300, "", ".", "..", "a/b", "if" + "9" * 5000, "\0", "{}", "*", "é",
]  # fmt: skip
NUMBERS = [0, 1, -1, 47, 2**31, 2**32, 2**63, 2**64, 10**400, 0.5, -0.0]


@pytest.fixture
def fuzz(request):
    """Try cases, each made and run by a function of its dice, until the time is over."""
    seconds = request.config.getoption("--fuzz-seconds")

    def go(try_one):
        end, seed, slowest = time.monotonic() + seconds, 0, 0.0
        try_one(random.Random(0))  # what is imported once is no part of a case
        tracemalloc.start()
        try:
            while time.monotonic() < end or seed < 20:
                begin = time.process_time()
                try:
                    try_one(random.Random(seed))
                except Exception as error:
                    raise AssertionError(f"seed {seed}: {error!r}") from error
                used = time.process_time() - begin
                # To trace what is allocated makes it some times slower.
                assert used < 4 * A_CASE, f"seed {seed} took {used:.1f} s"
                slowest, seed = max(slowest, used), seed + 1
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < MEMORY, f"{peak >> 20} MB"

    return go


def marred(dice, data):
    """Bytes of a file with some of them changed, cut, doubled or put elsewhere."""
    changed = bytearray(data)
    for _ in range(dice.randrange(1, 6)):
        place = dice.randrange(len(changed) + 1)
        match dice.randrange(4):
            case 0:
                changed[place : place + dice.randrange(9)] = dice.randbytes(dice.randrange(9))
            case 1:
                del changed[place:]
            case 2:
                changed[place:place] = changed[: dice.randrange(200)] * dice.choice([1, 2, 50])
            case 3:
                changed[place : place + 4] = dice.choice([b"\xff" * 4, bytes(4), b"\0\0\0\1"])
    return bytes(changed)


PACKETS = [
    gre_packet(A, B), gre_packet(A, B, key=2, sequence=1, checksum=True), gre_packet(B, A, key=1),
    gre_packet(A, B, answer(B, A)), ipv6("fd00::2", "fd00::1", 47, gre(b"x", key=1)),
    gre_packet(A, B, protocol=0x6558), gre_packet(A, B, protocol=0x88BE, key=1),
]  # fmt: skip
FILES = [
    pcap(*((n * 10**9, ethernet(p)) for n, p in enumerate(PACKETS)), link=1),
    pcap(*((n * 10**9, p) for n, p in enumerate(PACKETS)), order=">", nano=True),
    Pcapng().interface(name=b"vb", resolution=b"\6").packet(1, ethernet(PACKETS[1])).data,
    Pcapng(">").interface(101, offset=b"\xff" * 8).packet(2**63, PACKETS[0]).data,
]
TUNNELS = [tunnel(key=1), tunnel("gre2", key=2, iseq=True, icsum=True, ifindex=11)]


def shown(reader):
    """All that is written of what was read, in both forms."""
    written = []
    for output in (JsonReports, lambda s: TextReports(s, color=False, width=None)):
        stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
        reader.finish(output(stream))
        stream.flush()
        written.append(stream.buffer.getvalue().decode())
    for line in written[0].splitlines():
        assert json.loads(line)["cause"]
    for text in written:
        assert not set(text) & {"\x1b", "\x07", "\0", "\u202e"}
    return written


def test_captures(fuzz, tmp_path):
    path = tmp_path / "capture"

    def read(dice):
        path.write_bytes(marred(dice, dice.choice(FILES)))
        reader = Reader(Scene(Tables(TUNNELS)), Wanted())
        with contextlib.suppress(GretraceError):
            reader.read(read_capture(str(path)), None)
        shown(reader)
        assert all("\n" not in remark for remark in reader.remarks())

    fuzz(read)


RECORD = {
    "name": "gre1", "ifindex": 5, "netns": 4026531840, "kind": "gre", "local": B, "remote": A,
    "ikey": 1, "okey": 2, "iflags": ["key"], "oflags": ["key"], "up": True, "link": "vb",
    "link_ifindex": 3, "encap": {"type": "fou", "sport": 1, "dport": 2}, "ttl": 64,
    "tos": 0, "mtu": 1476, "pmtudisc": True,
}  # fmt: skip
LINK = {
    "ifindex": 7, "ifname": "gre1", "link": None, "flags": ["UP", "LOWER_UP"], "mtu": 1476,
    "promiscuity": 0, "linkinfo": {"info_kind": "gre", "info_data": {
        "remote": A, "local": B, "ttl": 0, "tos": "inherit", "pmtudisc": True, "link": "if3",
        "ikey": "0.0.0.5", "okey": 5,
    }},
}  # fmt: skip


def any_value(dice, depth=0):
    match dice.randrange(8 if depth < 3 else 4):
        case 0 | 1:
            return dice.choice(NASTY)
        case 2:
            return dice.choice(NUMBERS)
        case 3:
            return dice.choice([None, True, False])
        case 4:
            return [any_value(dice, depth + 1) for _ in range(dice.randrange(3))]
        case 5:
            return {dice.choice(NASTY): any_value(dice, depth + 1)}
        case _:
            return str(ip_address(dice.choice([A, "fd00::1", "::"])))


def replaced(dice, value):
    """A JSON value with something in it that does not belong there."""
    if isinstance(value, dict) and value and dice.random() < 0.9:
        name = dice.choice(list(value))
        if dice.random() < 0.1:
            return {k: v for k, v in value.items() if k != name}
        return value | {name: replaced(dice, value[name])}
    if isinstance(value, list) and value and dice.random() < 0.9:
        place = dice.randrange(len(value))
        return [*value[:place], replaced(dice, value[place]), *value[place + 1 :]]
    return any_value(dice)


def test_tunnel_files(fuzz):
    packet = gre_packet(A, B, key=9)

    def read(dice):
        text = "\n".join(json.dumps(replaced(dice, RECORD)) for _ in range(dice.randrange(3)))
        if dice.random() < 0.5:
            text = json.dumps([replaced(dice, LINK) for _ in range(dice.randrange(3))])
        if dice.random() < 0.3:
            text = marred(dice, text.encode("utf-8", "surrogateescape")).decode(errors="replace")
        try:
            tunnels = parse_tunnels(text, "t.json")
        except GretraceError as error:
            said = str(error)
        else:
            said = ""
        assert "\n" not in said
        assert len(said) < 1000
        if said:
            return
        reader = Reader(scene_of_tunnels(tunnels, "t.json"), Wanted())
        reader.read(read_capture(capture), None)
        shown(reader)
        predict_elsewhere(tunnels, Query(ip_address(A), ip_address(B), 9, 0x0800), None)

    import tempfile

    with tempfile.NamedTemporaryFile() as file:
        file.write(pcap((1, packet)))
        file.flush()
        capture = file.name
        fuzz(read)


RULESET = {"nftables": [
    {"chain": {"family": "inet", "table": "f", "name": "sub", "handle": 1}},
    {"chain": {"family": "inet", "table": "f", "name": "c", "handle": 2, "hook": "input",
               "type": "filter", "prio": 0, "policy": "drop"}},
    {"rule": {"family": "inet", "table": "f", "chain": "c", "handle": 3, "expr": [
        {"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}},
                   "right": {"prefix": {"addr": "20.1.0.0", "len": 16}}}},
        {"counter": {"packets": 0, "bytes": 0}}, {"jump": {"target": "sub"}}]}},
    {"rule": {"family": "inet", "table": "f", "chain": "sub", "handle": 4, "expr": [
        {"vmap": {"key": {"ct": {"key": "state"}}, "data": {"set": [
            ["established", {"accept": None}], ["new", {"goto": {"target": "sub"}}]]}}}]}},
    {"rule": {"family": "inet", "table": "f", "chain": "c", "handle": 5, "expr": [
        {"match": {"op": "!=", "left": {"meta": {"key": "iifname"}},
                   "right": {"set": ["a", "b"]}}}, {"reject": None}]}},
]}  # fmt: skip
SAVED = (
    "*filter\n:INPUT DROP [1:84]\n:SUB - [0:0]\n-A INPUT -m conntrack --ctstate INVALID -j DROP\n"
    '-A INPUT ! -s 20.1.0.0/16 -p gre -m comment --comment "a \\"b" -j SUB\n'
    "-A SUB -i v+ -g SUB\n-A SUB -d 20.1.1.1/32 -j REJECT --reject-with icmp-port-unreachable\n"
    "COMMIT\n"
)
FACTS = {
    "nfproto": "ipv4", "l4proto": "47", "saddr": A, "daddr": B, "iifname": "vb",
}  # fmt: skip


def asked(chains):
    for hook in ("input", "ingress", "forward"):
        found = Ruleset(chains).droppers([hook], FACTS)
        for suspect in found.suspects[:9]:
            assert str(suspect)


def test_rulesets_of_nft(fuzz):
    def read(dice):
        ruleset = RULESET
        for _ in range(dice.randrange(1, 4)):
            ruleset = replaced(dice, ruleset)
        text = json.dumps(ruleset)
        if dice.random() < 0.2:
            text = marred(dice, text.encode()).decode(errors="replace")
        asked(parse_nft(text))

    fuzz(read)


def test_rulesets_of_iptables(fuzz):
    def read(dice):
        text = marred(dice, SAVED.encode()).decode(errors="replace")
        lines = text.splitlines()
        dice.shuffle(lines)
        asked(parse_iptables("\n".join([*lines, *text.splitlines()]), "iptables-legacy", "ip"))

    fuzz(read)


def test_names_of_namespaces(fuzz):
    def read(dice):
        # No argument of a program can have a zero byte.
        few = [word[:40] for word in NASTY if word != "\0"]
        name = "".join(dice.choice(few) for _ in range(dice.randrange(1, 4)))
        with contextlib.suppress(GretraceError):
            find_namespace(name)

    fuzz(read)
