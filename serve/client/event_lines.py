"""Server-sent events from lines of text.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from .records import Event

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def read_events(lines: Iterable[str]) -> Iterator[Event]:
    r"""Read events whose data is a JSON object; comments and what is not finished are left out.

    Example:
        >>> list(read_events(["id: 3", "event: progress", 'data: {"done": 1}', "", "event: state"]))
        [Event(kind='progress', data={'done': 1}, id='3')]
    """
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            fields[name] = (
                value.removeprefix(" ")
                if name != "data" or name not in fields
                else (f"{fields[name]}\n{value.removeprefix(' ')}")
            )
            continue
        if "data" in fields:
            data = json.loads(fields["data"])
            yield Event(kind=fields.get("event", "message"), data=data, id=fields.get("id", ""))
        fields = {}
