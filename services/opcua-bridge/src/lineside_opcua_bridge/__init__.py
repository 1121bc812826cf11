"""Lineside opcua-bridge: a PLC's triggers become inference requests, the verdicts are written back to the PLC."""
