# SPDX-License-Identifier: GPL-2.0-only
"""What the shell offers where a name is due: fast, and silent where nothing can be known."""

from collections.abc import Callable, Iterable
from contextlib import closing
from functools import wraps

import click
from click.shell_completion import CompletionItem

from gretrace.cli.watched import one_namespace
from gretrace.errors import GretraceError
from gretrace.host.namespaces import NAMED, entered
from gretrace.host.netlink import Link, Links

# Names come from whoever may make a device; the shell would take these for more than a name.
PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-@:+=")

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _offers(names: Callable[[click.Context], Iterable[str]]) -> Complete:
    """Make what click asks for; where names cannot be read, nothing is offered."""

    @wraps(names)
    def complete(
        context: click.Context, _parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        try:
            found = sorted(set(names(context)))
        except (OSError, GretraceError):
            return []
        return [
            CompletionItem(name)
            for name in found
            if name.startswith(incomplete) and PLAIN.issuperset(name)
        ]

    return complete


@_offers
def namespaces(_context: click.Context) -> Iterable[str]:
    """The namespaces that have a name."""
    return (path.name for path in NAMED.iterdir())


@_offers
def devices(context: click.Context) -> Iterable[str]:
    """The devices of the namespace that --netns named so far."""
    return (link.name for link in _links(context))


@_offers
def tunnels(context: click.Context) -> Iterable[str]:
    """The tunnels there that can have a responder, less those that were named already."""
    given = context.params.get("interfaces") or ()
    return (
        link.name
        for link in _links(context)
        if link.kind in ("gre", "ip6gre") and link.name not in given
    )


def files(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Leave files to the shell."""
    return [CompletionItem(incomplete, type="file")]


def _links(context: click.Context) -> list[Link]:
    with entered(one_namespace(context.params.get("netns"))), closing(Links()) as links:
        return links.dump()
