"""Lineside topic-bridge."""
