"""Lineside inference."""
