"""What the two nuclei allow and answer differently; everything that is served alike is said elsewhere."""

from dataclasses import dataclass

from lineside_bench.greengrass.ipc_server.framing import MAX_MESSAGE_BYTES


@dataclass(frozen=True)
class Manner:
    """One nucleus' limits and ways."""

    name: str
    max_frame_bytes: int
    """Longest message of a client, prelude and all; a longer one closes its connection."""
    max_sent_bytes: int
    """Longest message to a client; a longer one is not sent."""
    max_clients: int | None
    max_subscriptions: int | None
    """Of one server, over all clients."""
    max_topic_bytes: int | None
    receive_modes: bool
    """Whether a subscriber can leave out its own messages, which one with wildcards does unless it says otherwise."""
    terminates: bool
    """Whether the answer to an operation without events ends its stream; else the client's end of it does."""
    plain_messages: bool
    """Whether an error's text is in `message`, where the SDK shows it; else in `_message`, where it does not."""
    shadows: bool
    validation: bool
    """Whether a deployment's configuration is offered to the component, and its update can be put off."""
    scalars_as_text: bool
    """Whether numbers and booleans of a recipe's YAML arrive as text."""
    interpolates_resources: bool
    """Whether a recipe variable in a policy's resource is replaced when an operation is asked for; the classic nucleus
    does so when it deploys, where `interpolateComponentConfiguration` is set."""
    max_shadow_bytes: int = 8192


CLASSIC = Manner(
    name="classic",
    max_frame_bytes=MAX_MESSAGE_BYTES,
    max_sent_bytes=MAX_MESSAGE_BYTES,
    max_clients=None,
    max_subscriptions=None,
    max_topic_bytes=None,
    receive_modes=True,
    terminates=True,
    plain_messages=True,
    shadows=True,
    validation=True,
    scalars_as_text=False,
    interpolates_resources=False,
)
"""The nucleus in Java; from its source, not from a run."""

LITE = Manner(
    name="lite",
    max_frame_bytes=10_012,
    max_sent_bytes=10_000,
    max_clients=50,
    max_subscriptions=100,
    max_topic_bytes=256,
    receive_modes=False,
    terminates=False,
    plain_messages=False,
    shadows=False,
    validation=False,
    scalars_as_text=True,
    interpolates_resources=True,
)
"""The nucleus in C, version 2.6: GGL_IPC_MAX_MSG_LEN, which bounds what follows a message's prelude, and what it was
seen to do."""
