# SPDX-License-Identifier: GPL-2.0-only
"""Which tunnels get a keepalive responder, on which hook, and why: behind `respond`."""

import errno
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from gretrace.commands import run
from gretrace.engine.contract import ResponderDialect
from gretrace.engine.hooks import HOOKS, Hook, WireHook, ours
from gretrace.errors import GretraceError, PrerequisiteError, Remedy, UsageError
from gretrace.host.ipsec import read_policies
from gretrace.host.namespaces import entered, is_there
from gretrace.host.tunnels import TunnelTable
from gretrace.keepalive import responder, trial
from gretrace.keepalive.responder import Inside, Stream
from gretrace.keepalive.selection import can_answer, select
from gretrace.kernel.ipsec import Policy, Protection, protection
from gretrace.live import Watch
from gretrace.model import Keepalive, Responder, Route, Tunnel

TICK = 1.0  # seconds between two looks for responders that have come or gone


@dataclass(frozen=True, slots=True)
class Attached:
    """A tunnel with its responder, and why it is where it is."""

    tunnel: Tunnel
    responder: Responder
    why: str
    protection: Protection
    is_new: bool = True


class Attendant:
    """Keeps the tunnels that the user means answered, now and as they come and change."""

    def __init__(
        self,
        table: TunnelTable,
        names: tuple[str, ...],
        *,
        every: bool,
        hook: str,
        dialects: ResponderDialect,
        rate: int,
        force: bool,
        verbose: bool = False,
    ) -> None:
        self._table, self._names, self._every = table, names, every
        self._hook, self._dialects, self._force = hook, dialects, force
        self._rate = rate
        # Every packet is told, not only keepalives.
        self._verbose = verbose
        self._streams: dict[str, Stream] = {}

    def tunnels(self) -> list[Tunnel]:
        """Return the tunnels that are meant; raises UsageError as select() does."""
        return select(self._table, self._names, every=self._every)

    def attach_all(self, tell: Callable[[str], None]) -> list[Attached]:
        """Have every tunnel answered; raises as respond() does.

        Of all tunnels, one that cannot be answered is told and passed over.
        """
        attached = []
        tunnels, policies = self.tunnels(), read_policies(self._table.namespace)
        for tunnel in tunnels:
            try:
                attached.append(self._attach(tunnel, policies))
            except GretraceError as error:
                if not self._every:
                    raise
                tell(str(error))
        return attached

    def stay(
        self,
        until: Watch,
        tell: Callable[[str], None],
        show: Callable[[Keepalive], None] | None,
        *,
        watch_new: bool,
    ) -> None:
        """Attend until `until` says stop: `show` gets keepalives, `tell` what was attached."""
        while is_there(self._table.namespace):
            if until.stopped:
                return
            if show:
                self.listen()
            until.wait([self._table, *self._streams.values()], TICK)
            for stream in self._streams.values():
                for keepalive in stream.take():
                    if show:
                        show(keepalive)
            if self._table.take_notice() and watch_new:
                self._attach_new(tell)
        tell(self._table.namespace.gone)

    def fileno(self) -> int:
        """Return a descriptor that is readable once a link of the namespace changed."""
        return self._table.fileno()

    def attend(self, tell: Callable[[str], None]) -> None:
        """Attach to what was created or changed since the last call; `tell` is told of it."""
        if self._table.take_notice():
            with entered(self._table.namespace):
                self._attach_new(tell)

    def close(self) -> None:
        """Stop listening; the responders stay."""
        for stream in self._streams.values():
            stream.close()
        self._streams.clear()

    def _attach(self, tunnel: Tunnel, policies: Sequence[Policy]) -> Attached:
        return respond(
            self._table,
            tunnel,
            self._hook,
            self._dialects,
            policies,
            rate=self._rate,
            force=self._force,
            verbose=self._verbose,
        )

    def _attach_new(self, tell: Callable[[str], None]) -> None:
        policies = read_policies(self._table.namespace)
        for tunnel in self._table.tunnels:
            if not (can_answer(tunnel) if self._every else tunnel.name in self._names):
                continue
            try:
                attached = self._attach(tunnel, policies)
            except GretraceError as error:
                tell(str(error))
            else:
                if attached.is_new:
                    tell(f"{tunnel.name}: answered by {attached.responder.hook}")
                    protected = attached.protection.describe(tunnel)
                    if protected:
                        tell(protected)

    def listen(self) -> None:
        """Listen to the responders that are there now, and no longer to those that are gone."""
        there = {}
        for tunnel in self._table.tunnels:
            state = responder.read(tunnel.ifindex)
            if state and (self._every or tunnel.name in self._names):
                there[tunnel.name] = state.program_id
        for name, stream in list(self._streams.items()):
            if there.get(name) != stream.program_id:
                self._streams.pop(name).close()
        for name, program_id in there.items():
            if name not in self._streams:
                # It may have gone with its tunnel by now.
                with suppress(FileNotFoundError):
                    self._streams[name] = Stream(name, program_id, verbose=self._verbose)


def respond(
    table: TunnelTable,
    tunnel: Tunnel,
    wanted_hook: str,
    dialects: ResponderDialect,
    policies: Sequence[Policy],
    *,
    rate: int,
    force: bool,
    verbose: bool = False,
) -> Attached:
    """Have a tunnel answered; where it is already, only tell the responder what it should know.

    `policies` are the namespace's, `rate` is in answers a second, and `verbose` is for a
    listener. Raises PrerequisiteError when no hook answers right on this kernel, or only one that
    IPsec forbids, GretraceError when another program is in the way.
    """
    inside = _inside(table, tunnel) if dialects & ResponderDialect.INSIDE else None
    route = table.route(tunnel.remote) if tunnel.remote else Route()
    config = responder.make_config(tunnel, dialects, inside, route, rate=rate, verbose=verbose)
    protected = protection(policies, tunnel, tunnel.local or route.source, route.device)
    there = [hook for hook in HOOKS if ours(hook, tunnel.ifindex)]
    kept = next(
        (
            hook
            for hook in there
            if _is_wanted(hook.name, wanted_hook) and not _evades(hook, protected)
        ),
        None,
    )
    # One is enough: a second would answer what the first lets pass.
    responder.detach(tunnel.ifindex, [hook for hook in there if hook is not kept])
    if kept:
        try:
            responder.configure(ours(kept, tunnel.ifindex) or 0, config)
        except FileNotFoundError:
            # The tunnel went since it was looked at, and its program with it.
            raise _left(tunnel) from None
        why = f"it was on {kept.name} already"
        return Attached(tunnel, _seen(tunnel, kept), why, protected, is_new=False)
    hook, why = _choose(tunnel, wanted_hook, protected)
    if hook.attached(tunnel.ifindex):
        if not force:
            raise _occupied(tunnel, hook)
        hook.detach(tunnel.ifindex)
    try:
        responder.attach(tunnel, hook, config)
    except OSError as error:
        raise _explain(error, tunnel, hook) from error
    return Attached(tunnel, _seen(tunnel, hook), why, protected)


def _choose(tunnel: Tunnel, wanted: str, protected: Protection) -> tuple[Hook, str]:
    """Take the cheapest hook that answers; on a kernel, only a trial tells which those are."""
    tried = [hook for hook in HOOKS if _is_wanted(hook.name, wanted)]
    failed: list[str] = []
    for hook in tried:
        if trial.answers(tunnel, hook):
            if _evades(hook, protected):
                raise PrerequisiteError(
                    f"{tunnel.name} stays unanswered: on this kernel only {hook.name} could, and "
                    f"would send the answer in plain text past IPsec ({protected.policy})",
                    "take a kernel on which tc answers inside the tunnel, 6.1 or later",
                )
            why = "a trial keepalive was answered"
            if failed:
                why += f", which {' and '.join(failed)} did not"
            return hook, why
        failed.append(hook.name)
    kind = tunnel.kind if tunnel.remote else f"{tunnel.kind} without a remote"
    remedy = "give the tunnel a remote" if not tunnel.remote else "please report the kernel"
    raise PrerequisiteError(
        f"on this kernel no answer comes right from {tunnel.name} ({kind}) by "
        f"{' or '.join(failed)}: a trial keepalive said so",
        remedy if wanted == "auto" else Remedy.ANY_HOOK,
    )


def _evades(hook: Hook, protected: Protection) -> bool:
    """Whether a program puts its answers on the wire past a policy that covers the tunnel.

    One for what arrives counts too: what has come by ESP is not on the device as it was on
    the wire, and has no outer header to answer with.
    """
    return isinstance(hook, WireHook) and protected.policy is not None


def _is_wanted(hook: str, wanted: str) -> bool:
    """Whether the user's `--hook` allows one; tc has two programs."""
    return wanted in ("auto", hook.partition("-")[0])


def _inside(table: TunnelTable, tunnel: Tunnel) -> Inside:
    ends = table.inside_addresses(tunnel.ifindex)
    if ends is None:
        words = ("ip", "addr", "add", "OURS", "peer", "THEIRS", "dev", tunnel.name)
        raise UsageError(
            f"{tunnel.name} has no address with a peer, so the inside dialect cannot be checked",
            f"give it one: {run(table.namespace.reached, *words)}",
        )
    return Inside(*ends)


def _seen(tunnel: Tunnel, hook: Hook) -> Responder:
    state = responder.read(tunnel.ifindex, [hook])
    if state is None:
        raise _left(tunnel)
    return state


def _left(tunnel: Tunnel) -> GretraceError:
    return GretraceError(f"the responder left {tunnel.name} at once", "see who else manages it")


def _occupied(tunnel: Tunnel, hook: Hook) -> GretraceError:
    return GretraceError(
        f"{tunnel.name} has another program on its {hook.name} hook",
        Remedy.REPLACE,
    )


def _explain(error: OSError, tunnel: Tunnel, hook: Hook) -> GretraceError:
    if error.errno in (errno.EEXIST, errno.EBUSY):
        return _occupied(tunnel, hook)
    return PrerequisiteError(
        f"the kernel refuses {hook.name} on {tunnel.name} ({error.strerror})",
        Remedy.MORE_WORDS,
    )
