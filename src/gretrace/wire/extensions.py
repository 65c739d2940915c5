# SPDX-License-Identifier: GPL-2.0-only
"""Extension headers of IPv6 (RFC 8200 section 4) that may come before GRE."""

from typing import NamedTuple

IPV6_SIZE = 40
IPV6_FRAGMENT, IPV6_DESTINATION_OPTIONS = 44, 60
_EXTENSIONS = (0, 43, IPV6_FRAGMENT, IPV6_DESTINATION_OPTIONS)
EXTENSIONS_AT_MOST = 4
# Options: one of a single byte that fills, and the limit of RFC 2473 section 4.1.1.
_PAD, _LIMIT = 0, 4


class Extensions(NamedTuple):
    """What is known of a packet behind its extension headers."""

    protocol: int
    offset: int  # where it begins, in bytes
    is_fragment: bool  # a later one; that is all there is of it (RFC 6946), or the first, is none
    limit: int | None  # how many tunnels more may be put around it


def skip_extensions(data: bytes) -> Extensions:
    """Go past the extension headers of a packet whose IPv6 header is whole."""
    protocol, offset, limit = data[6], IPV6_SIZE, None
    for _ in range(EXTENSIONS_AT_MOST):
        if protocol not in _EXTENSIONS or len(data) < offset + 8:
            break
        kind, protocol = protocol, data[offset]
        if kind == IPV6_DESTINATION_OPTIONS:
            limit = _encapsulation_limit(data[offset + 2 : offset + 8 + data[offset + 1] * 8])
        if kind != IPV6_FRAGMENT:
            offset += 8 + data[offset + 1] * 8
        elif int.from_bytes(data[offset + 2 : offset + 4], "big") & 0xFFF8:
            return Extensions(protocol, offset + 8, is_fragment=True, limit=limit)
        else:
            offset += 8
    return Extensions(protocol, offset, is_fragment=False, limit=limit)


def _encapsulation_limit(options: bytes) -> int | None:
    """Find the limit among options, as ip6_tnl_parse_tlv_enc_lim() does."""
    at = 0
    while at + 1 < len(options):
        if options[at] == _PAD:
            at += 1
            continue
        if options[at] == _LIMIT and options[at + 1] == 1 and at + 2 < len(options):
            return options[at + 2]
        at += 2 + options[at + 1]
    return None
