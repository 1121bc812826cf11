"""What is done about damage: integrity checks, recovery, salvage, quarantine, and proof of what is there."""
