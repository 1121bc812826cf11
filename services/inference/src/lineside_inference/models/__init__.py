"""Model cards and the local store of models."""
