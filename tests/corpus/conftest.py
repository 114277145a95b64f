"""The real service, for the corpus."""

from __future__ import annotations

from ..serve.http.conftest import bundle, server

__all__ = ["bundle", "server"]
