"""Section `inference.limits`: the bounds of requests, bodies, images and answers."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from lineside.contract import MAX_DEADLINE_MS
from lineside.settings import Section

MIB = 1024 * 1024


class LimitSettings(Section):
    """Bounds; what is above one is refused by name and counted."""

    body_bytes: int = Field(
        16 * MIB,
        ge=1024,
        description="Largest body of predict: one image. Camera frames and files have the same limit.",
    )
    json_bytes: int = Field(4 * MIB, ge=1024, description="Largest body of infer: one request as JSON.")
    json_body_values: int = Field(
        262_144, ge=1, description="Most values of a JSON body; what has more must go as binary, by /v2."
    )
    body_s: float = Field(10.0, gt=0, le=600, description="Longest wait for a body to arrive.")
    pixels: int = Field(40_000_000, ge=1, description="Most pixels of an image, by its header.")
    concurrency: int = Field(
        16,
        ge=1,
        le=1024,
        description="Requests worked on at the same time; a quarter of the places is kept for the line's own: small "
        "ones that bring no pixels, as all that come over the bus.",
    )
    queue: int = Field(
        64,
        ge=0,
        le=65_536,
        description="Requests that wait beyond these, of the line and of others; one more gets 429.",
    )
    workers: int = Field(
        0, ge=0, le=256, description="Threads that decode and prepare; 0: one a core, as many as the container may use."
    )
    memory_bytes: int | None = Field(
        None,
        ge=32 * MIB,
        description="Most memory of bodies, and of pictures while they are decoded, half for each, a quarter of both "
        "kept for the line's own requests; what is larger is taken alone. Absent: a quarter of the container's memory, "
        "or of the machine's.",
    )
    remembered: int = Field(4096, ge=1, description="Answers kept so that the same id asked again runs once.")
    remembered_bytes: int = Field(32 * MIB, ge=1024, description="Most memory of the kept answers.")
    unpacked_bytes: int = Field(
        64 * MIB, ge=1024, description="Largest v2 request after its Content-Encoding (gzip, deflate) is undone."
    )
    tensors: int = Field(64, ge=1, le=1024, description="Most inputs of one v2 request.")
    outputs: int = Field(64, ge=1, le=1024, description="Most outputs that one v2 request may name.")
    strings: int = Field(65_536, ge=1, description="Most elements of one BYTES tensor in v2.")
    json_values: int = Field(
        262_144,
        ge=1,
        description="Most values of a v2 answer as JSON; what has more must be asked for as binary.",
    )
    v2_concurrency: int = Field(
        16,
        ge=1,
        le=1024,
        description="v2 requests read and worked on at the same time, beside concurrency; they use the slots of "
        "triton.slots above limits.concurrency, and go to Triton in bytes where none is left.",
    )
    v2_deadline_ms: float = Field(
        30_000.0, gt=0, le=MAX_DEADLINE_MS, description="Deadline of a v2 request that names none."
    )
    client_shared_memory_prefixes: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")], ...] = Field(
        (),
        description="Clients of v2 may register and name shared memory of their own (system_shared_memory) whose key "
        "begins so; empty: none may.",
    )
    client_shared_memory_regions: int = Field(
        128, ge=1, le=4096, description="Most regions of such memory that are registered at the same time."
    )
    client_shared_memory_bytes: int = Field(1024 * MIB, ge=4096, description="Most bytes of all such regions together.")

    @model_validator(mode="after")
    def _not_our_own_memory(self) -> Self:
        for prefix in self.client_shared_memory_prefixes:
            if any(own.startswith(prefix) or prefix.startswith(own) for own in ("lineside", "triton")):
                raise ValueError(
                    f"client_shared_memory_prefixes names {prefix!r}: memory of lineside and of triton is their own; "
                    "give clients another prefix"
                )
        return self
