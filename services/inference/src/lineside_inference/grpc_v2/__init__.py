"""The Open Inference Protocol over gRPC (`inference.GRPCInferenceService`), on the data plane of the v2 HTTP face."""
