"""What the service does: judge by a model's card, and infer directly; known by no face's protocol."""
