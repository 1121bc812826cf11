"""A fleet that is updated by evidence; runs on a workstation or in a pipeline, never on the box."""
