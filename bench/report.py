# SPDX-License-Identifier: GPL-2.0-only
"""Measurements as tables, and ratios to nothing attached.

Of seconds, memory and events the median over the rounds is told; of instructions the lowest, as
what else a guest does can only add to them.
"""

import os
import platform
from collections import defaultdict
from functools import partial
from pathlib import Path
from statistics import median

from tabulate import tabulate

LARGEST = 4  # parts of an installation that are named


def machine():
    """Return what was measured on."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return f"{os.cpu_count()} x {cpu}, Linux {platform.release()}"


def tables(results):
    """Return all results as Markdown."""
    parts = {
        "responder": ("The responder, ns a packet (BPF_PROG_TEST_RUN)", _plain),
        "tracing": (
            f"Traffic under watch, instructions a packet, in {results['kernel of the guest']}",
            tracing,
        ),
        "installed": ("What each takes to watch: s of the guest, MB", partial(_needs, results)),
        "tunnels": ("explain-drop among many tunnels: s, MB, microseconds", _plain),
        "kinds": ("Many kinds of drop at once: s, MB, s of CPU", _plain),
    }
    pages = [f"Measured on {results['machine']}.\n"]
    for name, (title, render) in parts.items():
        if name in results:
            rows = tabulate(
                render(results[name]), headers="keys", tablefmt="github", floatfmt=".4g",
                missingval="-",
            )  # fmt: skip
            pages.append(f"### {title}\n\n{rows}\n")
    return "\n".join(pages)


def _plain(rows):
    return rows


def tracing(rows):
    """Return a row for each tool and kind of packet, and what its costs are to nothing."""
    by_tool = defaultdict(list)
    for row in rows:
        by_tool[row["work"], row["tool"]].append(row)
    bare = {
        work: min(row["running"] for row in found)
        for (work, tool), found in by_tool.items()
        if tool == "nothing"
    }
    return [_tool(work, tool, found, bare.get(work)) for (work, tool), found in by_tool.items()]


def _tool(work, tool, rows, bare):
    measured = [row for row in rows if "error" not in row]
    shown = {"packets": work, "attached": tool}
    if not measured:
        # The last line of what it said is the reason.
        return shown | {"running": rows[0]["error"].strip().splitlines()[-1][:60]}
    middle = _medians(measured, "packets", "each", "shown", "told")
    running, path = (min(row[name] for row in measured) for name in ("running", "path"))
    # Whole numbers: of rejected packets a few have more, as the kernel answers some by ICMP.
    each = round(middle["each"]) if "each" in middle else None
    events = middle.get("shown")
    return shown | {
        "sent": int(middle["packets"]),
        "running": running,
        "ratio": running / bare if bare else None,
        "path": path,
        "path ratio": path / bare if bare else None,
        "events a packet": each,
        "shown": events,
        "missing": None if each is None else max(0, round(each * middle["packets"] - events)),
        "told": middle.get("told"),
    }


def _needs(results, sizes):
    """Return rows of what the tools need to start, in memory and on disk."""
    by_tool = defaultdict(list)
    for row in results["tracing"]:
        if "start" in row:
            by_tool[row["tool"]].append(row)
    return [_need(size, _medians(by_tool[size["tool"]], "start", "memory")) for size in sizes]


def _need(size, middle):
    largest = sorted(size.get("of", {}).items(), key=lambda part: -part[1])[:LARGEST]
    return {
        "attached": size["tool"],
        "first event, s": middle.get("start"),
        "peak memory": middle.get("memory"),
        "installed": size.get("megabytes"),
        "of that": size.get("error") or ", ".join(f"{name} {part:.1f}" for name, part in largest),
    }


def _medians(rows, *names):
    """Return the medians of the values that every row has."""
    return {
        name: median(row[name] for row in rows)
        for name in names
        if rows and all(name in row for row in rows)
    }
