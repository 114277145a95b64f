"""Write the service's OpenAPI document to docs/openapi.json: ``python -m tools.openapi``."""

from __future__ import annotations

import json
from pathlib import Path

from nnunet_losses.serve.http.app import create_app
from nnunet_losses.serve.http.settings import Settings

FILE = Path(__file__).parents[1] / "docs" / "openapi.json"


def document() -> str:
    """The document of a server with default settings, as text."""
    app = create_app(Settings(bundles=("model.bundle",)))
    return json.dumps(app.openapi(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(document())
    print(f"{FILE} has been written.")
