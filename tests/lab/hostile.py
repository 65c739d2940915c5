# SPDX-License-Identifier: GPL-2.0-only
"""Hosts whose names were given by a stranger."""

import os
import secrets
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path

from tests.lab.hosts import Host, hosts, run, wire
from tests.lab.netns import named_namespace

# Each makes a file where it is run, if a shell takes it for more than a word.
TYPABLE = [
    "$(>pwned)",
    ";>pwned;",
    "`>pwned`",
    "|tee>pwned",
    "'$(>pwned)'",
    '"$(>pwned)"',
    "-x",
    "up",
]
# A title, a colour by C1, a bidi control, a byte that is no UTF-8, DEL.
UNTYPABLE = [
    os.fsdecode(name)
    for name in (b"\x1b]0;mine\x07", b"\xc2\x9b31m", b"a\xe2\x80\xaeb", b"\xff\xfe", b"x\x7f")
]


@contextmanager
def strange_pair(device, left_address, right_address):
    """A host, and one with this device in a namespace whose name is no better."""
    name = f"$(>pwned) ;{secrets.token_hex(3)}"
    with named_namespace(name), closing(Host(name)) as strange, hosts("a") as (a,):
        wire(a, "va", left_address, strange, "vb", right_address)
        strange.run("ip", "link", "set", "dev", "vb", "down")
        strange.run("ip", "link", "set", "dev", "vb", "name", device)
        strange.run("ip", "link", "set", "dev", device, "up")
        yield a, strange


def typed(command):
    """Run a command as a person would who has pasted it, and tell what else came of it."""
    with tempfile.TemporaryDirectory() as name:
        done = run("sh", "-c", f"cd {name} && {command}", check=False)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        assert not list(Path(name).iterdir()), command
    return done.stdout
