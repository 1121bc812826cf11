"""What the gRPC faces have in common: how a call is answered and counted, its status code, and the health service."""
