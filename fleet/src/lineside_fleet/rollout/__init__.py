"""A rollout: planned whole before anything changes, carried out stage by stage, undone target by target."""
