"""What it costs the traffic to be watched: run in a guest whose time counts instructions.

Every tool watches the same packets, one after the other, round by round. Of each flood the
time that all processes together were busy is taken from the scheduler's account, so that the
reader's work counts too; without the reader's share it is the cost in the packet's path.
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
from gretrace.namespaces import entered
from tests.frames import gre_packet, udp
from tests.lab.hosts import INNER_A, INNER_B, A, B, pair, run, tunnel_b

GRETRACE = str(Path(sys.executable).with_name("gretrace"))
PEERS = Path(".cache/peers")
SCRIPTS = Path(__file__).parent / "scripts"
READY_AT_MOST = 1500  # seconds of the guest's time, which are instructions
SETTLED = 0.4
# asm-generic/socket.h; the port of tests.frames.udp()
SO_RCVBUFFORCE, DISCARD = 33, 9


@dataclass(frozen=True)
class Tool:
    """Something that watches, how it is called, and how one knows that it does."""

    name: str
    command: tuple[str, ...]
    foreign: bool = False  # lives in the root of .cache/peers
    shows_packets: bool = True  # prints a line for each, so that lines are events
    ready: bytes = b"20.1.1."  # what it says once it watches, if not before it saw a packet


RECEIVE_PATH = (
    "^(netif_rx|__netif_receive_skb_core|ip_rcv|ip_rcv_core|ip_rcv_finish_core|ip_local_deliver"
    "|ip_protocol_deliver_rcu|iptunnel_pull_header|gro_cells_receive|udp_rcv|udp_queue_rcv_skb"
    "|sk_skb_reason_drop|kfree_skbmem)$"
)
TOOLS = [
    Tool("nothing", ()),
    Tool("explain-drop", (GRETRACE, "explain-drop"), shows_packets=False),
    Tool("lookup --follow", (GRETRACE, "lookup", "--follow")),
    Tool("lookup --follow -o json", (GRETRACE, "lookup", "--follow", "-o", "json")),
    Tool("lookup --follow --rate 0", (GRETRACE, "lookup", "--follow", "--rate", "0")),
    Tool("bpftrace, printing", ("bpftrace", "/scripts/printing.bt"), foreign=True),
    Tool(
        "bpftrace, counting", ("bpftrace", "/scripts/counting.bt"), foreign=True,
        shows_packets=False, ready=b"ready",
    ),
    Tool("tcpdump", ("tcpdump", "-lni", "vb", "proto", "47"), foreign=True, ready=b"listening"),
    Tool("pwru proto 47", ("pwru", "proto", "47"), foreign=True, ready=b"Listening"),
    # All its functions take long to attach in an emulated guest; a dozen say how it compares.
    Tool(
        "pwru proto 47, a dozen functions",
        ("pwru", "--filter-func", RECEIVE_PATH, "proto", "47"), foreign=True, ready=b"Listening",
    ),
]  # fmt: skip


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


def settle():
    """Wait until whoever reads has caught up."""
    before = sum(others_busy().values())
    while True:
        time.sleep(SETTLED)
        now = sum(others_busy().values())
        if now - before < SETTLED * 1e9 / 20:
            return
        before = now


@dataclass(frozen=True)
class Running:
    """A tool at work."""

    pid: int
    out: Path
    start: float  # seconds from its launch to the first packet that it saw


@contextmanager
def watching(tool, host, send):
    """Run a tool in a host; inside the block it has shown that it sees packets."""
    if not tool.command:
        yield None
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        out, ready = Path(directory) / "out", Path(directory) / "ready"
        command = list(tool.command)
        if tool.foreign:
            command = ["chroot", str(PEERS), *command]
        else:
            command += ["--ready-file", str(ready)]
        with out.open("wb") as sink:
            started = time.monotonic()
            process = subprocess.Popen(
                ["ip", "netns", "exec", host.name, *command], stdout=sink, stderr=sink
            )
        try:
            until = started + READY_AT_MOST
            while not (ready.exists() if not tool.foreign else is_awake(tool, out, send)):
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"{tool.name} does not watch: {out.read_text()[-500:]}")
                time.sleep(0.1)
            started = time.monotonic() - started
            settle()
            yield Running(process.pid, out, started)
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def is_awake(tool, out, send):
    """Whether a tool that says nothing of being attached has seen a packet."""
    send(1)
    time.sleep(0.5)
    return tool.ready in out.read_bytes()


@contextmanager
def listening(host):
    """Accept what the tunnel delivers, with room for a whole flood, so that nothing is dropped."""
    with entered(host.namespace):
        listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 28)
        listener.bind((INNER_B, DISCARD))
        yield


def measure(tool, host, send, packets):
    """Instructions for a packet, in all and without the reader, and the events that were shown."""
    with watching(tool, host, send) as running, listening(host):
        send(200)
        settle()
        shown = lines(running)
        before, sender = others_busy(), time.process_time_ns()
        send(packets)
        sender = time.process_time_ns() - sender
        settle()
        after = others_busy()
        row = {"shown": lines(running) - shown if tool.shows_packets and running else None}
        row |= {"start": running.start, "memory": peak_memory(running.pid)} if running else {}
    spent = {pid: after[pid] - before.get(pid, 0) for pid in after}
    total = sender + sum(spent.values())
    reader = spent[running.pid] if running else 0
    return row | {"running": total / packets, "path": (total - reader) / packets}


def peak_memory(pid):
    """Return the largest resident size that a process has had, in megabytes (VmHWM)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def lines(running):
    """Count the lines of what a tool has said so far."""
    return running.out.read_bytes().count(b"\n") if running else 0


def chosen(names):
    return [tool for tool in TOOLS if not names or tool.name in names]


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
            with flood(a, "va", packet) as send:
                broken = set()
                for number in range(rounds):
                    for tool in chosen(wanted["tools"]):
                        if tool.name in broken:
                            continue
                        row = {"work": kind, "tool": tool.name, "round": number}
                        try:
                            row |= measure(tool, b, send, packets)
                        except (RuntimeError, OSError) as error:
                            broken.add(tool.name)
                            row["error"] = str(error)
                        rows.write(json.dumps(row) + "\n")
                        rows.flush()
                        os.fsync(rows.fileno())


if __name__ == "__main__":
    main(sys.argv[1])
