# SPDX-License-Identifier: GPL-2.0-only
"""Which tunnels of a namespace a user means, and which of those can be answered."""

from gretrace.errors import UsageError
from gretrace.host.tunnels import TunnelTable
from gretrace.kernel.kinds import kind_of
from gretrace.model import Tunnel


def select(table: TunnelTable, names: tuple[str, ...], *, every: bool) -> list[Tunnel]:
    """Return the tunnels that the user means.

    Raises UsageError for a name that is no tunnel which can get keepalives.
    """
    known = {tunnel.name: tunnel for tunnel in table.tunnels}
    if every:
        return [t for t in known.values() if can_answer(t)]
    chosen = []
    for name in names:
        tunnel = known.get(name)
        if tunnel is None and table.link_index(name) is None:
            raise UsageError(f"there is no interface {name!r} here", "see `ip link`")
        if tunnel is None:
            raise UsageError(
                f"{name} is no GRE tunnel, and keepalives come only by one",
                f"there are here: {', '.join(known) or 'none'}",
            )
        refusal = _refusal(tunnel)
        if refusal:
            raise UsageError(f"{name} {refusal}", "give a gre or ip6gre tunnel")
        chosen.append(tunnel)
    return chosen


def can_answer(tunnel: Tunnel) -> bool:
    """Whether a tunnel is one that `--all` means."""
    return not tunnel.fallback and _refusal(tunnel) is None


def _refusal(tunnel: Tunnel) -> str | None:
    if kind_of(tunnel).is_ethernet:
        return f"is a {tunnel.kind} tunnel, which carries Ethernet frames and gets no keepalives"
    if tunnel.external:
        return "is external (collect_md): it has no peer of its own"
    return None
