# SPDX-License-Identifier: GPL-2.0-only
"""The xfrm policies and states of a namespace.

pyroute2 knows no xfrm, and two dumps are all that is needed of it.
"""

import errno
import socket
import struct
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import TypeVar

from gretrace.host.asking import (
    BUFFER,
    NLM_F_DUMP,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    refusal,
)
from gretrace.host.framing import MESSAGE, attributes_in, messages
from gretrace.host.namespaces import Namespace, entered
from gretrace.kernel.ipsec import Ipsec, Policy, State

T = TypeVar("T")

NETLINK_XFRM = 6
# uapi/linux/xfrm.h
XFRM_MSG_NEWSA, XFRM_MSG_GETSA, XFRM_MSG_NEWPOLICY, XFRM_MSG_GETPOLICY = 0x10, 0x12, 0x13, 0x15
XFRMA_TMPL, XFRMA_MARK, XFRMA_IF_ID = 5, 21, 31
XFRM_POLICY_BLOCK = 1
DIRECTIONS = {0: "in", 1: "out"}  # what else there is, is forwarded or of a single socket
USERPOLICY_ID_SIZE, USERSA_ID_SIZE = 64, 24
# A host of IPsec has some for each peer; a stranger could make them without end.
MOST = 4096

# struct xfrm_userpolicy_info: of the selector the addresses,
# the ports with their masks, family, prefix lengths, protocol and device; then priority,
# direction and action.
_PORTS = struct.Struct(">HHHH")
_POLICY = struct.Struct("=16s16s8sHBBB3xi100xI4xBB6x")
# struct xfrm_user_tmpl, of which only `optional` is read.
_TEMPLATE = struct.Struct("=50xB13x")
# struct xfrm_usersa_info: destination, SPI, protocol, source and family.
_STATE = struct.Struct("=56x16s4sB3x16s116xH")


def read_policies(namespace: Namespace, most: int | None = None) -> list[Policy]:
    """Read the policies of a namespace, the oldest first; a kernel without xfrm has none.

    Leaves out those that want a mark or an xfrm interface (`mark`, `if_id`), which a
    tunnel's packets do not have by themselves; and ends with the newest `most` or a few more.
    Raises OSError when the kernel refuses, and PrerequisiteError when the namespace cannot be
    entered.
    """
    # A dump begins with the newest.
    return _dump(namespace, XFRM_MSG_GETPOLICY, USERPOLICY_ID_SIZE, parse_dump, most)[::-1]


def read_ipsec(namespace: Namespace) -> Ipsec:
    """Read policies and states of a namespace, of each no more than MOST or a few more.

    Raises what `read_policies` raises.
    """
    policies = read_policies(namespace, MOST)
    states = _dump(namespace, XFRM_MSG_GETSA, USERSA_ID_SIZE, parse_states, MOST)
    return Ipsec(policies, states, is_whole=max(len(policies), len(states)) < MOST)


def _dump(
    namespace: Namespace,
    kind: int,
    size: int,
    parse: Callable[[bytes], tuple[list[T], bool]],
    most: int | None,
) -> list[T]:
    try:
        with entered(namespace):
            xfrm = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_XFRM)
    except OSError as error:
        if error.errno == errno.EPROTONOSUPPORT:
            return []
        raise
    request = MESSAGE.pack(MESSAGE.size + size, kind, NLM_F_REQUEST | NLM_F_DUMP, 1, 0)
    found: list[T] = []
    with xfrm:
        xfrm.send(request + bytes(size))
        while most is None or len(found) < most:
            records, ended = parse(xfrm.recv(BUFFER))
            found += records
            if ended:
                break
    return found


def parse_dump(datagram: bytes) -> tuple[list[Policy], bool]:
    """Read one datagram of a dump: its policies, and whether the dump ends with it.

    Raises OSError for the error that the kernel answers with; what is cut short, or of
    another kind, is passed over.
    """
    return _records(datagram, XFRM_MSG_NEWPOLICY, _parse_policy)


def parse_states(datagram: bytes) -> tuple[list[State], bool]:
    """Read one datagram of a dump: its states, and whether the dump ends with it.

    Raises OSError as `parse_dump` does.
    """
    return _records(datagram, XFRM_MSG_NEWSA, _parse_state)


def _records(
    datagram: bytes, wanted: int, parse: Callable[[bytes], T | None]
) -> tuple[list[T], bool]:
    found = []
    ended = False
    for kind, _, _, payload in messages(datagram):
        if kind == NLMSG_ERROR:
            raise refusal(payload)
        if kind == NLMSG_DONE:
            ended = True
        elif kind == wanted and (record := parse(payload)) is not None:
            found.append(record)
    return found, ended


def _parse_state(payload: bytes) -> State | None:
    if len(payload) < _STATE.size:
        return None
    to, spi, protocol, of, family = _STATE.unpack_from(payload)
    size = 4 if family == socket.AF_INET else 16
    spi = int.from_bytes(spi, "big")
    return State(ip_address(of[:size]), ip_address(to[:size]), spi, protocol)


def _parse_policy(payload: bytes) -> Policy | None:
    if len(payload) < _POLICY.size:
        return None
    (
        to,
        of,
        ports,
        family,
        to_length,
        of_length,
        protocol,
        ifindex,
        priority,
        direction,
        action,
    ) = _POLICY.unpack_from(payload)
    attributes = attributes_in(payload, _POLICY.size)
    mark = attributes.get(XFRMA_MARK, b"").ljust(8, b"\0")
    wanted_mark, _ = struct.unpack_from("=II", mark)
    if direction not in DIRECTIONS or wanted_mark or any(attributes.get(XFRMA_IF_ID, b"")):
        return None
    size = 4 if family == socket.AF_INET else 16
    levels = _template_levels(attributes.get(XFRMA_TMPL, b""))
    # The two ports of a GRE packet are the halves of its key (xfrm_flowi_sport()).
    low, low_mask, high, high_mask = _PORTS.unpack(ports)
    try:
        return Policy(
            direction=DIRECTIONS[direction],
            source=ip_network((of[:size], of_length), strict=False),
            destination=ip_network((to[:size], to_length), strict=False),
            protocol=protocol,
            priority=priority,
            key=high << 16 | low,
            key_mask=high_mask << 16 | low_mask,
            ifindex=ifindex,
            block=action == XFRM_POLICY_BLOCK,
            transforms=bool(levels),
            optional=bool(levels) and all(levels),
        )
    except ValueError:  # a prefix longer than an address
        return None


def _template_levels(data: bytes) -> list[bool]:
    """Read of each template whether it is optional."""
    whole = len(data) // _TEMPLATE.size * _TEMPLATE.size
    return [bool(optional) for (optional,) in _TEMPLATE.iter_unpack(data[:whole])]
