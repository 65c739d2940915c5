# SPDX-License-Identifier: GPL-2.0-only
"""`script/bench`: every measurement, as a table for people and as JSON."""

import json
import os
import subprocess
import sys
from pathlib import Path

import click

from bench import installed, report, responder, scale
from bench.tools import PEERS, TOOLS, chosen

OUT = Path(".cache/bench")
PARTS = ("responder", "tracing", "tunnels", "kinds")


@click.command()
@click.option("--against", multiple=True, metavar="FILE.o", help="Another XDP object, beside ours.")
@click.option("--part", "parts", multiple=True, type=click.Choice(PARTS), help="Only this.")
@click.option("--kernel", default="6.12", show_default=True, help="Of the guest, for tracing.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1))
@click.option("--packets", default=20_000, show_default=True, type=click.IntRange(1000))
@click.option("--tool", "tools", multiple=True, type=click.Choice([tool.name for tool in TOOLS]))
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table")
def main(against, parts, kernel, rounds, packets, tools, output):
    """Measure gretrace and what one would use instead, on the same work in the same run.

    Needs root, and for the peers their Debian packages: `script/bench --install` fetches them.
    """
    if os.geteuid() != 0:
        raise click.ClickException("must be run as root")
    OUT.mkdir(parents=True, exist_ok=True)
    results = {"machine": report.machine(), "kernel of the guest": release(kernel)}
    for part in parts or PARTS:
        click.echo(f"measuring: {part}", err=True)
        if part == "responder":
            results[part] = responder.measure(against)
        elif part == "tracing":
            results[part] = trace(kernel, rounds, packets, tools)
            results["installed"] = installed.rows([tool for tool in chosen(tools) if tool.command])
        else:
            results[part] = getattr(scale, part)()
    (OUT / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    click.echo(json.dumps(results) if output == "json" else report.tables(results))


def release(kernel):
    done = subprocess.run(
        ["script/vm", kernel, "--release"], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def trace(kernel, rounds, packets, tools):
    """Run bench.tracing in a guest; return its rows, also of those tools that are missing."""
    here = chosen(tools)
    missing = [tool for tool in here if tool.foreign and not (PEERS / "usr/bin").exists()]
    rows = OUT / "tracing.jsonl"
    rows.unlink(missing_ok=True)
    names = [tool.name for tool in here if tool not in missing]
    wanted = {"packets": packets, "rounds": rounds, "tools": names, "out": str(rows)}
    guest = ["script/vm", kernel, "--icount", "--memory", "3G", "--timeout", "10800", "--"]
    subprocess.run([*guest, sys.executable, "-m", "bench.tracing", json.dumps(wanted)], check=True)
    measured = [json.loads(line) for line in rows.read_text().splitlines()]
    absent = "not installed: script/bench --install"
    return measured + [{"work": "-", "tool": tool.name, "error": absent} for tool in missing]


if __name__ == "__main__":
    main()
