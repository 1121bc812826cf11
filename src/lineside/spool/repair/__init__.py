"""Damage: the integrity check, recovery and salvage of what is whole, and verifying everything."""
