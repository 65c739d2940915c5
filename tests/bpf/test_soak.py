# SPDX-License-Identifier: GPL-2.0-only
"""`serve` for long: what it holds does not grow, and every packet is in one sum.

GRETRACE_SOAK in the environment is for how many seconds (20 unless given); an hour is 3600.
"""

import os
import random
import signal
import socket
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from gretrace.host.namespaces import entered
from tests.bpf.test_serve import drops, serving
from tests.frames import gre_packet
from tests.lab.hosts import B, hosts, pair
from tests.scraped import samples, scrape

if os.geteuid() != 0:
    pytest.skip("loading BPF programs needs root", allow_module_level=True)

SECONDS = float(os.environ.get("GRETRACE_SOAK", "20"))
# Of a round: packets of new tuples, and namespaces that are made and deleted.
TUPLES, NAMESPACES = 3000, 2
# Until then everything has been used once.
WARM = 0.25
MEMORY, SLACK = 1.10, 4 << 20  # bytes: of an allocator that keeps some
# What namespaces of others, which whoever watches all has open too, may take: bytes, descriptors.
OTHERS = 32 << 20, 64
BARE = bytes.fromhex("20000800000000ff") + bytes(20)


def held(process):
    """Resident bytes, and how many descriptors are open."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    (resident,) = [int(li.split()[1]) for li in status.splitlines() if li.startswith("VmRSS")]
    return resident * 1024, len(list(Path(f"/proc/{process.pid}/fd").iterdir()))


def come_and_go():
    """Make namespaces in which a packet is dropped, and delete them."""
    with hosts(*(f"s{n}" for n in range(NAMESPACES))) as made:
        for host in made:
            host.ip("link set lo up")
            with (
                entered(host.namespace),
                socket.socket(socket.AF_INET, socket.SOCK_RAW, 47) as wire,
            ):
                wire.sendto(BARE, ("127.0.0.1", 0))


def wait_for_all(host, sent):
    deadline = time.monotonic() + 60
    while True:
        found = samples(scrape(host))
        told = drops(found) + found["gretrace_unexplained_drops_total",]
        if told == sent or time.monotonic() > deadline:
            return found, told
        time.sleep(0.3)


def test_nothing_grows_and_nothing_is_lost(tmp_path, capsys):
    rng, sent, rounds = random.Random(1), 0, 0
    config = tmp_path / "gretrace.toml"
    config.write_text('listen = "127.0.0.1:9947"\njournal = true\n')
    with ExitStack() as stack:
        a, b = stack.enter_context(pair())
        (other,) = stack.enter_context(hosts("other"))
        # One has the packets to itself, the other all namespaces, and so those of other tests.
        exact = stack.enter_context(serving(b, "--config", config))
        wide = stack.enter_context(serving(other, "--all-netns", "--config", config))
        send = a.sender("va")
        begin = time.monotonic()
        warm = series = None
        while time.monotonic() - begin < SECONDS:
            for _ in range(TUPLES):
                source = f"20.{rng.randrange(2, 250)}.{rng.randrange(256)}.{rng.randrange(1, 255)}"
                send(gre_packet(source, B, key=rng.randrange(1 << 32)))
            sent += TUPLES
            come_and_go()
            rounds += 1
            if rounds % 5 == 0:
                for process in (exact, wide):
                    process.send_signal(signal.SIGHUP)
            for host in (b, other):
                scrape(host)
            if warm is None and time.monotonic() - begin > WARM * SECONDS:
                found, told = wait_for_all(b, sent)
                assert told == sent
                series, warm = found.keys(), [held(exact), held(wide)]
        found, told = wait_for_all(b, sent)
        assert told == sent, f"{told} of {sent} in {rounds} rounds"
        assert found["gretrace_unseen_drops_total",] == 0
        assert found.keys() == series
        assert drops(samples(scrape(other))) > 0
        time.sleep(1.5)  # connections that were answered are closed
        for (memory, descriptors), process, (more, open_too) in zip(
            warm, (exact, wide), ((0, 0), OTHERS), strict=True
        ):
            now = held(process)
            told = f"{memory >> 10} -> {now[0] >> 10} KB, {descriptors} -> {now[1]} descriptors"
            with capsys.disabled():
                print(f"\nserve: {rounds} rounds, {sent} packets, {told}")  # noqa: T201
            assert now[0] <= memory * MEMORY + SLACK + more
            assert now[1] <= descriptors + open_too
        for process in (exact, wide):
            process.terminate()
            assert process.wait() == 0
