"""The agent's messages: `agent.proto`, and what protoc makes of it (see test_edge_manager_protocol.py).

Both ends of the socket use them: the inference service, which is the agent, and `lineside edge-manager`.
"""

SERVICE = "AWS.SageMaker.Edge.Agent"
"""The gRPC service's name, as clients call it."""
