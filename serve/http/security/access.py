"""Which scope a request needs: one table for all addresses, so that no route can forget to ask.

What the table does not know needs ``admin``.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from .caller import Scope

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class Rule(NamedTuple):
    """Requests with one of the methods (None: all) on an address of this form. The first that fits counts."""

    methods: frozenset[str] | None
    pattern: str
    scope: Scope | None  # None: everybody


RULES = (
    Rule(SAFE, r"/healthz|/readyz|/v2/health/(live|ready)", None),
    Rule(SAFE, r"/ui(/.*)?|/|/favicon\.ico", None),  # a page without data; it asks for a key itself
    Rule(SAFE, r"/openapi\.json|/v2", None),  # what the sources say
    Rule(SAFE, r"/metrics", Scope.METRICS),
    Rule(SAFE, r"/v1/models(/.*)?|/v2/models(/.*)?|/v1/archives", Scope.SEGMENT),
    Rule(None, r"/v1/(segment|jobs)(/.*)?", Scope.SEGMENT),
)
_PROBES = RULES[0].pattern


def required_scope(method: str, path: str) -> Scope | None:
    """Tell what a caller must have been granted; None if anybody may ask.

    Example:
        >>> required_scope("GET", "/v2/health/live") is None
        True
        >>> required_scope("POST", "/v1/jobs"), required_scope("POST", "/v1/models/liver/reload")
        (<Scope.SEGMENT: 'segment'>, <Scope.ADMIN: 'admin'>)
    """
    for rule in RULES:
        if (rule.methods is None or method in rule.methods) and re.fullmatch(rule.pattern, path):
            return rule.scope
    return Scope.ADMIN


def is_probe(path: str) -> bool:
    """Whether this is asked for ever, and must be answered however busy the server is."""
    return re.fullmatch(_PROBES, path) is not None
