"""Measurements as tables: medians over the rounds, and ratios to nothing attached."""

import os
import platform
from collections import defaultdict
from pathlib import Path
from statistics import median

from tabulate import tabulate


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
            _tracing,
        ),
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


def _tracing(rows):
    by_tool = defaultdict(list)
    for row in rows:
        by_tool[row["work"], row["tool"]].append(row)
    bare = {
        work: median(row["running"] for row in found)
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
    middle = {
        name: median(row[name] for row in measured)
        for name in ("running", "path", "shown", "start", "memory")
        if measured[0].get(name) is not None
    }
    return shown | {
        "running": middle["running"],
        "ratio": middle["running"] / bare if bare else None,
        "path": middle["path"],
        "path ratio": middle["path"] / bare if bare else None,
        "events": middle.get("shown"),
        "start, s": middle.get("start"),
        "MB": middle.get("memory"),
    }
