# SPDX-License-Identifier: GPL-2.0-only
"""What becomes of a tunnel while it is given a responder."""

import errno

import pytest

from gretrace.engine.contract import ResponderDialect
from gretrace.errors import GretraceError
from gretrace.keepalive import respond
from gretrace.model import Route
from tests.unit.cases import tunnel


class Table:
    def route(self, _remote):
        return Route(device=7)


def test_a_tunnel_that_goes_with_its_responder_is_one_line(monkeypatch):
    """Its program is asked for by a number that nothing has any more."""

    def configure(_program_id, _config):
        raise FileNotFoundError(errno.ENOENT, "open the program")

    monkeypatch.setattr(respond, "ours", lambda _hook, _ifindex: 7)
    monkeypatch.setattr(respond.responder, "detach", lambda *_: False)
    monkeypatch.setattr(respond.responder, "configure", configure)
    with pytest.raises(GretraceError, match="the responder left gre1"):
        respond.respond(Table(), tunnel(), "auto", ResponderDialect(0), [], rate=1000, force=False)
