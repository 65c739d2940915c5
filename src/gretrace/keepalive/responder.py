# SPDX-License-Identifier: GPL-2.0-only
"""The keepalive responder on a device: attached, asked, and taken away again.

It lives as long as it is attached, without a process and without a pin: its maps belong
to the program, and the program to the device. So its counters are gone with it, or with
the tunnel, and nothing has to be cleaned up.

Everything acts in the network namespace of the caller.
"""

import os
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass

from gretrace.engine.contract import (
    RESPONDER_RATE,
    ResponderConfig,
    ResponderCounters,
    ResponderDialect,
    ResponderOutcome,
)
from gretrace.engine.core import open_object
from gretrace.engine.decode import OUTCOMES, decode_keepalive
from gretrace.engine.hooks import HOOKS, Hook, ours
from gretrace.engine.maps import Ring, read_element, write_element
from gretrace.engine.programs import open_maps
from gretrace.kernel.kinds import kind_of
from gretrace.model import Address, Keepalive, Responder, Route, Tunnel

STRICT = ResponderDialect(0)


@dataclass(frozen=True, slots=True)
class Inside:
    """The addresses inside a tunnel: the device's own, and the peer's."""

    local: Address
    remote: Address


def attach(tunnel: Tunnel, hook: Hook, config: ResponderConfig) -> None:
    """Attach the responder to a tunnel.

    Raises OSError when the kernel refuses; EEXIST or EBUSY when another program is there.
    """
    with closing(open_object("keepalive")) as loaded:
        # To verify what is not attached would take several times as long.
        for program in {each.program for each in HOOKS} - {hook.program}:
            loaded.leave_out(program)
        loaded.load()
        write_element(loaded.map_fd("config"), config)
        hook.attach(tunnel.ifindex, loaded.program_fd(hook.program))


def configure(program_id: int, config: ResponderConfig) -> None:
    """Tell an attached responder what its tunnel looks like now."""
    maps = open_maps(program_id)
    try:
        write_element(maps["config"], config)
    finally:
        for fd in maps.values():
            os.close(fd)


def detach(ifindex: int, hooks: Sequence[Hook] = HOOKS) -> bool:
    """Take our responder off a device; False when there was none. Others stay."""
    found = [hook for hook in hooks if ours(hook, ifindex)]
    for hook in found:
        hook.detach(ifindex)
    return bool(found)


def read(ifindex: int, hooks: Sequence[Hook] = HOOKS) -> Responder | None:
    """Read the counters of the responder on a device; None when there is none."""
    for hook in hooks:
        program_id = ours(hook, ifindex)
        if program_id:
            # Between two questions a tunnel may go, and its program with it.
            with suppress(FileNotFoundError):
                return _read(hook.name, program_id)
    return None


class Stream:
    """The packets that an attached responder looks at, from now on.

    Verbose, it tells of every packet, not of keepalives alone, until it is closed.
    """

    def __init__(self, tunnel: str, program_id: int, *, verbose: bool) -> None:
        self.tunnel, self.program_id = tunnel, program_id
        self._maps = open_maps(program_id)
        self._ring = Ring(self._maps["events"])
        self._verbose = verbose
        # What was written before is of no use to anybody.
        self._ring.take()
        self._clock_offset = time.time_ns() - time.monotonic_ns()
        if verbose:
            self._set_verbose(on=True)

    def fileno(self) -> int:
        """Return a descriptor that is readable when a packet was looked at."""
        return self._ring.fileno()

    def take(self) -> list[Keepalive]:
        """Return the packets since the last call."""
        return [
            decode_keepalive(record, self.tunnel, self._clock_offset)
            for record in self._ring.take()
        ]

    def close(self) -> None:
        """Stop listening; the responder stays."""
        if self._verbose:
            self._set_verbose(on=False)
        self._ring.close()
        for fd in self._maps.values():
            os.close(fd)

    def _set_verbose(self, *, on: bool) -> None:
        config = ResponderConfig()
        read_element(self._maps["config"], config)
        config.verbose = on
        write_element(self._maps["config"], config)


def make_config(
    tunnel: Tunnel,
    dialects: ResponderDialect = STRICT,
    inside: Inside | None = None,
    route: Route | None = None,
    *,
    rate: int = RESPONDER_RATE,
    verbose: bool = False,
) -> ResponderConfig:
    """Describe to the program what a keepalive of this tunnel looks like.

    `route` is the way to the remote. A tunnel without a local address sends from the
    route's, so that is where its peer sends to. `rate` is in answers a second. `verbose` has the
    program tell of every packet, for a listener that is there.
    """
    route = route or Route()
    config = ResponderConfig(
        dialects=dialects,
        family=kind_of(tunnel).family,
        underlay=route.device or 0,
        rate=rate,
        verbose=verbose,
    )
    local = tunnel.local or (route.source if tunnel.remote else None)
    addresses = {"local": local, "remote": tunnel.remote}
    if inside:
        addresses |= {"inside_local": inside.local, "inside_remote": inside.remote}
    for name, address in addresses.items():
        if address is not None:
            getattr(config, name)[: len(address.packed)] = address.packed
    options = (tunnel.okey is not None) + tunnel.ocsum + tunnel.oseq
    config.outer_size = 20 + 4 + 4 * options
    return config


def _read(hook: str, program_id: int) -> Responder:
    maps = open_maps(program_id)
    counters = ResponderCounters()
    try:
        read_element(maps["counters"], counters)
    finally:
        for fd in maps.values():
            os.close(fd)
    last = counters.last_answered_ns
    return Responder(
        hook=hook,
        program_id=program_id,
        answered=counters.packets[ResponderOutcome.ANSWERED],
        refused={
            name: counters.packets[outcome]
            for outcome, name in OUTCOMES.items()
            if outcome > ResponderOutcome.ANSWERED and counters.packets[outcome]
        },
        last_answered_ns=last + time.time_ns() - time.monotonic_ns() if last else None,
    )
