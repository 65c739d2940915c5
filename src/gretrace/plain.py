# SPDX-License-Identifier: GPL-2.0-only
"""Text of others, made fit to be shown.

Names of devices, namespaces, chains and files, and what captures and rulesets say, may hold
any byte but NUL. On a terminal a control character acts, a newline forges a line, and a bidi
control or an odd space shows a name as another.
"""


def plain(text: str) -> str:
    r"""Write each character that does not print (str.isprintable()) as its escape.

    A byte that is no UTF-8 (PEP 383), or an ASCII control character, becomes `\xNN`, another
    `\uNNNN` or `\UNNNNNNNN`. All that prints is left as it is, so the escapes are for reading,
    not for turning back.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    code = ord(char)
    if code < 0x80 or 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code & 0xFF:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
