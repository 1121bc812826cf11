"""Triton over gRPC and, for inferences, HTTP; tensors in one shared-memory arena."""
