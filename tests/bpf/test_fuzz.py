# SPDX-License-Identifier: GPL-2.0-only
"""Packets of strangers through the programs, as the kernel that is running has them.

Each test goes on for --fuzz-seconds; what fails names its seed. The lookup programs need GRE in
the kernel: tests/lab/test_lookup_engine.py gives them any bytes.
"""

import os
import random
import time
from contextlib import closing
from ipaddress import ip_address

import pytest

from gretrace.engine import drop_reasons, open_drops
from gretrace.engine.core import open_object
from gretrace.engine.decode import decode_drop
from gretrace.engine.maps import write_element
from gretrace.engine.wanted import Wanted
from gretrace.keepalive.responder import make_config
from gretrace.kernel.lookup import Tables
from gretrace.verdicts import CAUSES, Case, explain
from tests.bpf.test_keepalive import ETHERNET, STRICT
from tests.bpf.testrun import TC_ACT_REDIRECT, TC_ACT_UNSPEC, XDP_PASS, XDP_TX, run_program
from tests.frames import answer, gre, gre_packet, ipv4, ipv6, udp
from tests.fuzz.test_hostile import PACKETS, marred
from tests.lab.hosts import A, B, pair
from tests.unit.cases import tunnel

if os.geteuid() != 0:
    pytest.skip("loading BPF programs needs root", allow_module_level=True)

LOCAL, REMOTE = "20.1.1.1", "20.1.1.2"
OWN, PEER = ip_address(LOCAL).packed, ip_address(REMOTE).packed
LEAST = 20  # bytes: tc programs are run on nothing shorter than an IP header
ANSWERED = {"tc": TC_ACT_REDIRECT, "xdp": XDP_TX}
PASSED = {"tc": TC_ACT_UNSPEC, "xdp": XDP_PASS}
KEEPALIVES = [
    answer(LOCAL, REMOTE), answer(LOCAL, REMOTE, key=7), ipv4(REMOTE, LOCAL, 47, gre(b"")),
    gre_packet(REMOTE, LOCAL, answer(LOCAL, REMOTE)), answer(LOCAL, REMOTE) + bytes(16),
    ipv6("fd00::1", "fd00::2", 47, gre(b"", protocol=0x86DD)), udp(LOCAL, REMOTE),
]  # fmt: skip


@pytest.fixture
def seeds(request):
    """Dice, each of its own seed, until the time is over."""

    def thrown():
        end, seed = time.monotonic() + request.config.getoption("--fuzz-seconds"), 0
        while time.monotonic() < end or seed < 200:
            yield seed, random.Random(seed)
            seed += 1

    return thrown


@pytest.mark.parametrize("face", ["tc", "xdp"])
def test_the_responder_answers_its_peer_or_nobody_and_changes_nothing(seeds, face):
    with closing(open_object("keepalive")) as loaded:
        loaded.load()
        made = tunnel("gre1", local=LOCAL, remote=REMOTE)
        write_element(loaded.map_fd("config"), make_config(made, STRICT, None))
        fd = loaded.program_fd(f"gretrace_{face}")
        for seed, dice in seeds():
            packet = marred(dice, dice.choice(KEEPALIVES))
            packet = packet[:1500].ljust(LEAST, b"\0")
            frame = packet
            if face == "tc":
                is_six = packet[0] >> 4 == 6 and len(packet) >= 40
                frame = ETHERNET[6 if is_six else 4] + packet
            verdict, after, _ = run_program(fd, frame)
            assert verdict in (ANSWERED[face], PASSED[face]), f"seed {seed}: {packet.hex()}"
            if verdict == PASSED[face]:
                assert after == frame, f"seed {seed}"
                continue
            # What is answered is from us to the peer, whole, whether the outer header, then of the
            # peer, is still before it or not.
            if packet[12:20] == PEER + OWN:
                packet = packet[4 * (packet[0] & 15) :]
                packet = packet[packet.index(OWN + PEER) - 12 :]
            assert packet[12:20] == OWN + PEER, f"seed {seed}: {frame.hex()}"
            assert packet[9] == 47, f"seed {seed}: {frame.hex()}"
            assert packet[6] & 0x3F == packet[7] == 0, f"seed {seed}: {frame.hex()}"


@pytest.mark.parametrize("engine", ["core", "bcc"])
def test_any_packet_is_counted_judged_and_hides_no_fault(seeds, engine):
    with pair() as (a, b):
        record = Wanted(netns=b.namespace.inode).to_record()
        with closing(open_drops(record, 1024, engine)) as table:
            send, sent, told, reasons = a.sender("va"), 0, 0, drop_reasons()

            def judge():
                table.look()
                count = 0
                for kind in table.kinds():
                    drop = decode_drop(kind.key, kind.stats, kind.place, reasons, 0)
                    verdict = explain(Case(drop, Tables([tunnel(key=1)])))
                    assert verdict.cause in {cause.name for cause in CAUSES}
                    assert not verdict.faults, f"seeds up to {seed}: {verdict.faults}"
                    count += kind.count
                return count

            for seed, dice in seeds():
                packet = marred(dice, dice.choice(PACKETS))[:1400]
                # What has no version is no packet to the sender.
                version = dice.choice([0x45, 0x45, 0x60, packet[0] if packet else 0])
                packet = bytes([version if version >> 4 in (4, 6) else 0x45]) + packet[1:]
                send(packet)
                sent += 1
                if seed % 500 == 499:
                    told += judge()
            told += judge()
            assert told + table.lost().overflow <= sent
            assert told > sent / 10
            for _ in range(3):
                send(gre_packet(A, B, key=4242))
            deadline, found = time.monotonic() + 20, 0
            while found < 3:
                assert time.monotonic() < deadline
                table.look()
                for kind in table.kinds():
                    drop = decode_drop(kind.key, kind.stats, kind.place, reasons, 0)
                    if drop.packet and drop.packet.gre and drop.packet.gre.key == 4242:
                        found += kind.count
                time.sleep(0.02)
            assert found == 3
