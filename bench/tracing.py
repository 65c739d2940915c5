# SPDX-License-Identifier: GPL-2.0-only
"""What it costs the traffic to be watched: run in a guest whose time counts instructions.

Every tool watches the same packets, one after the other, round by round. Of each flood the
time that all processes together were busy is taken from the scheduler's account, so that the
reader's work counts too; without the reader's share it is the cost in the packet's path. Of a
reader that polls without a rest, what it does when there is nothing left to read is no part of it.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.sender import flood
from bench.tools import PEERS, Tool, chosen
from gretrace.host.namespaces import entered
from tests.frames import gre_packet, udp
from tests.lab.hosts import INNER_A, INNER_B, A, B, pair, run, tunnel_b

SCRIPTS = Path(__file__).parent / "scripts"
READY_AT_MOST = 1500  # seconds of the guest's time, which are instructions
# Seconds between two looks, and looks in a row that find nothing more done: libpcap hands over
# what it has after a second.
SETTLED, QUIET = 0.4, 4
# Without a time zone, libc looks at /etc/localtime for every time that is printed, and the
# guest's files answer a hundred times slower than a disk.
ENVIRONMENT = {**os.environ, "TZ": "UTC0"}
WARM_UP = 64  # packets, few enough that no tool loses events of them
# asm-generic/socket.h; the port of tests.frames.udp()
SO_RCVBUFFORCE, DISCARD = 33, 9


def busy():
    """Nanoseconds that each process has run so far (sched_info), by its pid; threads summed."""
    spent = {}
    for task in Path("/proc").glob("[0-9]*/task/[0-9]*/schedstat"):
        try:
            nanoseconds = int(task.read_text().split()[0])
        except (OSError, IndexError):
            continue
        pid = int(task.parts[2])
        spent[pid] = spent.get(pid, 0) + nanoseconds
    return spent


def others_busy():
    """Return busy() without this process, whose looking is no part of the work."""
    spent = busy()
    del spent[os.getpid()]
    return spent


@dataclass
class Running:
    """A tool at work."""

    tool: Tool
    pid: int
    out: Path
    start: float  # seconds from its launch to the first packet that it showed
    said: str = ""  # all that it wrote, once it has ended

    def shown(self):
        """Return how many lines it has put out so far."""
        return self.out.read_bytes().count(b"\n")

    def last_shown(self):
        """Return when it put out a line last, as time.time(); the file's clock ticks in ms."""
        return self.out.stat().st_mtime

    def idle(self):
        """Return the share of the processor that it takes while there is nothing to see."""
        if not self.tool.polls:
            return 0.0
        before, began = busy()[self.pid], time.monotonic()
        time.sleep(1)
        return (busy()[self.pid] - before) / (time.monotonic() - began) / 1e9


def settle(running):
    """Wait until whoever reads has caught up; who polls has, once it shows nothing more."""
    polls = running and running.tool.polls
    quiet, before = 0, 0
    while quiet < QUIET:
        now = running.shown() if polls else sum(others_busy().values())
        quiet = quiet + 1 if now - before <= (0 if polls else SETTLED * 1e9 / 20) else 0
        before = now
        time.sleep(SETTLED)


@contextmanager
def watching(tool, host, wake):
    """Run a tool in a host; inside the block it has shown that it sees packets.

    `wake` sends a packet that every tool has to show.
    """
    if not tool.command:
        yield None
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        out, errors = Path(directory) / "out", Path(directory) / "errors"
        command = ["chroot", str(PEERS), *tool.command] if tool.foreign else tool.command
        with out.open("wb") as sink, errors.open("wb") as complaints:
            started = time.monotonic()
            process = subprocess.Popen(
                ["ip", "netns", "exec", host.name, *command], stdout=sink, stderr=complaints,
                env=ENVIRONMENT,
            )  # fmt: skip
        try:
            while tool.seen not in out.read_bytes():
                if process.poll() is not None or time.monotonic() > started + READY_AT_MOST:
                    raise RuntimeError(f"{tool.name} does not watch: {errors.read_text()[-500:]}")
                wake(1)
                time.sleep(0.1)
            running = Running(tool, process.pid, out, time.monotonic() - started)
            settle(running)
            yield running
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        running.said = out.read_text() + errors.read_text()


@contextmanager
def listening(host):
    """Accept what the tunnel delivers, with room for a whole flood, so that nothing is dropped."""
    with entered(host.namespace):
        listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 28)
        listener.bind((INNER_B, DISCARD))
        yield


def measure(tool, host, send, wake, packets):
    """Instructions for a packet, in all and without the reader, and what became of the events."""
    packets = min(packets, tool.most or packets)
    row = {"packets": packets}
    with watching(tool, host, wake) as running, listening(host):
        woken = running.shown() if running else 0
        send(WARM_UP)
        settle(running)
        shown, idle = (running.shown(), running.idle()) if running else (0, 0.0)
        before, began, sender = others_busy(), time.time(), time.process_time_ns()
        send(packets)
        sender = time.process_time_ns() - sender
        settle(running)
        after, ended = others_busy(), time.time()
        if running:
            row |= {"start": running.start, "memory": peak_memory(running.pid)}
            rested = ended - max(began, running.last_shown())
            after[running.pid] -= round(idle * rested * 1e9)
            if tool.shows_packets:
                row |= {"each": (shown - woken) / WARM_UP, "shown": running.shown() - shown}
    if tool.told and running:
        row["told"] = tool.told(running.said)
    spent = {pid: after[pid] - before.get(pid, 0) for pid in after}
    total = sender + sum(spent.values())
    reader = spent[running.pid] if running else 0
    return row | {"running": total / packets, "path": (total - reader) / packets}


def peak_memory(pid):
    """Return the largest resident size that a process has had, in megabytes (VmHWM)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def prepare():
    """Give the peers' root what it lacks of a running system."""
    if not PEERS.exists():
        return
    (PEERS / "scripts").mkdir(exist_ok=True)
    for script in SCRIPTS.glob("*.bt"):
        (PEERS / "scripts" / script.name).write_text(script.read_text())
    for place in ("proc", "sys", "dev"):
        run("mount", "--rbind", f"/{place}", str(PEERS / place))
    run("mount", "-t", "debugfs", "debugfs", "/sys/kernel/debug", check=False)
    run("mount", "-t", "tracefs", "tracefs", "/sys/kernel/tracing", check=False)


def main(argument):
    """Measure as the JSON object `argument` says; write a row of JSON for each measurement."""
    wanted = json.loads(argument)
    packets, rounds = wanted["packets"], wanted["rounds"]
    prepare()
    path = Path(wanted["out"])
    with pair() as (a, b), path.open("w") as rows:
        tunnel_b(b)
        inner = udp(INNER_A, INNER_B)
        work = {"accepted": gre_packet(A, B, inner), "rejected": gre_packet(A, B, inner, key=7)}
        for kind, packet in work.items():
            with flood(a, "va", packet) as send, flood(a, "va", work["rejected"]) as wake:
                broken = set()
                for number in range(rounds):
                    for tool in chosen(wanted["tools"]):
                        if tool.name in broken:
                            continue
                        row = {"work": kind, "tool": tool.name, "round": number}
                        try:
                            row |= measure(tool, b, send, wake, packets)
                        except (RuntimeError, OSError) as error:
                            broken.add(tool.name)
                            row["error"] = str(error)
                        rows.write(json.dumps(row) + "\n")
                        rows.flush()
                        os.fsync(rows.fileno())


if __name__ == "__main__":
    main(sys.argv[1])
