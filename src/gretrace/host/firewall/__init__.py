"""The chains of netfilter as the tools of a namespace list them.

There is no reading them without a tool: what the kernel has are nft's expressions, which
only nft turns into rules again.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence

from gretrace.errors import GretraceError
from gretrace.host.firewall.iptables import parse_iptables
from gretrace.host.firewall.nft import parse_nft
from gretrace.host.namespaces import Namespace, entered
from gretrace.kernel.ruleset import Chain

PATIENCE = 5.0  # seconds, for a large ruleset on a slow machine

LEGACY = {"iptables-legacy": "ip", "ip6tables-legacy": "ip6"}


def read_chains(namespace: Namespace) -> Sequence[Chain] | None:
    """Read all chains of a namespace; None where neither nft nor iptables is there to tell."""
    texts = {tool: _run(namespace, *command) for tool, command in _commands()}
    if all(text is None for text in texts.values()):
        return None
    found = parse_nft(texts.get("nft") or "")
    for tool, family in LEGACY.items():
        found += parse_iptables(texts.get(tool) or "", tool, family)
    return found


def _commands() -> Iterator[tuple[str, tuple[str, ...]]]:
    yield "nft", ("nft", "-j", "-t", "list", "ruleset")
    for tool in LEGACY:
        yield tool, (f"{tool}-save",)


def _run(namespace: Namespace, *command: str) -> str | None:
    """Run a command in a namespace; None when there is no such, or it fails."""
    # Not every root has these directories in his path.
    path = os.pathsep.join([*os.get_exec_path(), "/usr/sbin", "/sbin"])
    program = shutil.which(command[0], path=path)
    if program is None:
        return None
    try:
        # A child is born into the namespace of the thread that starts it.
        with entered(namespace):
            done = subprocess.run(
                [program, *command[1:]], capture_output=True, timeout=PATIENCE, check=False
            )
    except (OSError, GretraceError, subprocess.TimeoutExpired):
        return None
    return None if done.returncode else done.stdout.decode(errors="replace")
