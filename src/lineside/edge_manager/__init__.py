"""What we take over from SageMaker Edge Manager: its settings, options for DLR, agent's file, and agent's messages.

This module imports nothing: the settings of all services read `agent_file`, and `settings` stands on them. `protocol`
needs protobuf, which only who speaks it has.
"""
