"""What goes wrong with the spool.

SpoolError           base
+-- SpoolFull        no room for more, by the spool's bound or the disk's; nothing was kept
+-- SpoolUnusable    the folder or disk fails; nothing was kept
+-- SpoolDamaged     what was read is not what was written
+-- LeaseLost        the batch is not leased to this process any more; nothing was changed
"""

from lineside.errors import LinesideError


class SpoolError(LinesideError):
    """The spool did not do what was asked; nothing is half done."""

    code = "spool"


class SpoolFull(SpoolError):
    """There is no room for more, by the spool's bound or the disk's; nothing was kept."""

    code = "spool-full"
    transient = True


class SpoolUnusable(SpoolError):
    """The folder cannot be used, or its disk fails; nothing was kept."""

    code = "spool-unusable"
    transient = True


class SpoolDamaged(SpoolError):
    """What was read is not what was written."""

    code = "spool-damaged"


class LeaseLost(SpoolError):
    """The batch is not leased to this process: answered already, or its destination was forgotten. Nothing changed."""

    code = "spool-lease-lost"
