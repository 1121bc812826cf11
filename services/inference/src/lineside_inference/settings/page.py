"""Section `inference.page`: what the page keeps in memory, and for how many viewers."""

from pydantic import Field

from lineside.settings import Section

MIB = 1024 * 1024


class PageSettings(Section):
    """What the page at `/` keeps in memory, and for how many viewers."""

    parts: int = Field(400, ge=1, le=10_000, description="Results kept for the page.")
    part_bytes: int = Field(8 * MIB, ge=1024, description="Most memory of the kept results.")
    images: int = Field(60, ge=0, le=10_000, description="Images kept for the page.")
    image_bytes: int = Field(32 * MIB, ge=0, description="Most memory of the kept images.")
    watchers: int = Field(16, ge=1, le=256, description="Open pages that follow the line; one more gets 503.")
    backlog: int = Field(
        256, ge=2, le=10_000, description="Parts that a page may be behind; then it is dropped, and comes back itself."
    )
