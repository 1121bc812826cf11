"""Models are deployed without Greengrass: from a desired state, whole or not at all; heartbeats tell what runs.

desired      what a document wants, and where it comes from
planning     what is to be done: pure
database     what was wanted, done and told, over any crash
transaction  one deployment, step by step
artefacts    packages from S3: downloaded, compared, verified
repository   the commands that change the model repository and ask the inference service
deployer     when it is looked, and what comes of it
heartbeat    what runs on the device, told

Public are `command` (the program), `settings` (`Settings`, its section of the settings file) and `doctor` (`checks`,
what `lineside doctor` asks); all else may change with any version.
"""

from lineside import __version__

__all__ = ["__version__", "command", "doctor", "settings"]
