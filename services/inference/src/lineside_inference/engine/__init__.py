"""Triton over gRPC, with one shared-memory arena."""
