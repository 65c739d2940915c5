# SPDX-License-Identifier: GPL-2.0-only
"""What the model says of a lookup: of one to come, and beside one that the kernel did."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from gretrace.host.tunnels import TunnelTable
from gretrace.kernel.lookup import Answer, Match, Query, Tables
from gretrace.model import Decision, Tunnel


def predict(table: TunnelTable, query: Query, iif: str | None) -> Answer:
    """Answer for the tunnels of a namespace.

    A packet whose device is not given is taken to come the way that answers would go.
    """
    link = table.link_index(iif) if iif else table.route(query.remote).device
    asked = replace(query, link=link)
    answer = _answer(asked, table.tables, table.tables.lookup(asked))
    name = table.link_name(link) if link else None
    return replace(answer, netns=table.namespace.inode, iif=name, namespace=table.namespace.name)


def predict_elsewhere(tunnels: Sequence[Tunnel], query: Query, iif: str | None) -> Answer:
    """Answer for tunnels of another host, of which only their own description is known."""
    link = next((t.link for t in tunnels if iif and t.link_name == iif), None)
    asked, tables = replace(query, link=link), Tables(tunnels)
    return replace(_answer(asked, tables, tables.lookup(asked)), iif=iif)


def judge(decision: Decision, tables: Tables, table: TunnelTable | None) -> Answer:
    """Hold what the kernel decided against what the model would have.

    `tables` are those of `table`, now or before; None is a namespace that cannot be seen.
    """
    query = Query(
        decision.remote, decision.local, decision.key, decision.protocol, decision.ifindex
    )
    chosen = tables.by_ifindex(decision.tunnel_ifindex) if decision.tunnel_ifindex else None
    expected = tables.lookup(query)
    agrees = (expected.tunnel if expected else None) == chosen
    if decision.tunnel_ifindex and not chosen:
        # The model cannot know a tunnel that was moved to another namespace.
        agrees = table is None or decision.tunnel_netns != decision.netns
    elif table is None:
        agrees = True
    expected_name = expected.tunnel.name if expected else "none"
    return replace(
        _answer(query, tables, expected if chosen and agrees else None),
        netns=decision.netns,
        iif=table.link_name(decision.ifindex) if table else None,
        flags=decision.flags,
        tunnel=decision.tunnel_name,
        fallback=bool(chosen and chosen.fallback),
        disagreement=None if agrees else expected_name,
        namespace=table.namespace.name if table else str(decision.netns),
    )


def _answer(query: Query, tables: Tables, match: Match | None) -> Answer:
    return Answer(
        query=query,
        netns=0,
        iif=None,
        flags=() if query.key is None else ("key",),
        tunnel=match.tunnel.name if match else None,
        fallback=bool(match and match.tunnel.fallback),
        decided_by=match.decided_by if match else None,
        candidates=tuple(tables.candidates(query)),
        walk=partial(tables.walk, query),
    )
