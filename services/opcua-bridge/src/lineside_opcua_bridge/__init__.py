"""Lineside opcua-bridge."""
