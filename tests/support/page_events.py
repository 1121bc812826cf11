"""What a watcher of the page's events is sent."""

import json
from typing import Any


async def read_events(watcher: Any) -> list[tuple[str, str, dict[str, Any]]]:
    """Return the events that wait for a watcher, each as its name, its id and its data."""
    text = (await watcher.read(0.5)).decode()
    found = []
    for block in text.split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        found.append((fields["event"], fields["id"], json.loads(fields["data"])))
    return found
