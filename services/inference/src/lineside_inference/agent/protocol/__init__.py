"""The messages of the agent: `agent.proto`, and what protoc makes of it (see test_agent_protocol.py)."""
