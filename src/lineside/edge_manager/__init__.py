"""What we take over from SageMaker Edge Manager: its settings, its options for DLR, its agent's configuration file.

This module imports nothing: the settings of all services read `agent_file`, and `settings` stands on them.
"""
