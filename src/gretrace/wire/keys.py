# SPDX-License-Identifier: GPL-2.0-only
"""GRE keys (RFC 2890) in the spellings of iproute2."""

MAX_KEY = 0xFFFFFFFF
# Above this nobody reads the number, but many a key was chosen as an address.
LAST_PLAIN_KEY = 0xFFFF


def parse_key(text: str) -> int:
    """Read a key as `ip` does: decimal, 0x hexadecimal, 0 octal, or a dotted quad.

    As in iproute2's get_addr_ipv4(), a dotted quad may be cut short: 10.1 is 10.1.0.0.

    Raises ValueError with one sentence when the text is no key.
    """
    try:
        if "." not in text:
            key = _parse_c_number(text)
        else:
            octets = [_parse_c_number(part) for part in text.split(".")]
            if len(octets) > 4 or max(octets) > 0xFF:
                raise ValueError
            octets += [0] * (4 - len(octets))
            key = int.from_bytes(octets, "big")
        if not 0 <= key <= MAX_KEY:
            raise ValueError
    except ValueError:
        message = f"{text!r} is no GRE key: a number up to {MAX_KEY}, hexadecimal, or a dotted quad"
        raise ValueError(message) from None
    return key


def show_key(key: int | None, name: str = "key") -> str:
    """Name a key, or the lack of one, which is not the same as key 0."""
    if key is None:
        return f"no {name}"
    if key <= LAST_PLAIN_KEY:
        return f"{name} {key}"
    return f"{name} {key} ({'.'.join(str(octet) for octet in key.to_bytes(4, 'big'))})"


def _parse_c_number(text: str) -> int:
    """Read an unsigned number as strtoul(text, NULL, 0) does."""
    if not text.isascii() or not text.isalnum():
        raise ValueError
    if len(text) > 1 and text[0] == "0" and text[1].isdigit():
        return int(text, 8)
    return int(text, 0)
