"""The errors of everything that talks with the Greengrass nucleus.

GreengrassError         what the nucleus did not do
+-- NotAComponent       this process was not started by Greengrass
+-- SdkMissing          the distribution was installed without the extra `greengrass`
+-- ConnectionEnded     there is no connection, or no more; this process gets no other one
+-- Unauthorized        the component's recipe does not allow the operation
+-- NotFound            no such key, component or shadow
+-- Conflict            it was changed meanwhile: read it again
+-- Refused             the nucleus refuses the operation, or does not have it
"""

from lineside.errors import LinesideError


class GreengrassError(LinesideError):
    """What the nucleus did not do."""

    code = "greengrass"


class NotAComponent(GreengrassError):
    """This process was not started by Greengrass."""

    code = "not-a-component"


class SdkMissing(GreengrassError):
    """The distribution was installed without the extra `greengrass`."""

    code = "greengrass-sdk-missing"


class ConnectionEnded(GreengrassError):
    """There is no connection, or no more; this process gets no other one: its token is of one run of the nucleus."""

    code = "greengrass-connection-ended"


class Unauthorized(GreengrassError):
    """The component's recipe does not allow the operation."""

    code = "greengrass-unauthorized"


class NotFound(GreengrassError):
    """No such key, component or shadow."""

    code = "greengrass-not-found"


class Conflict(GreengrassError):
    """It was changed meanwhile: read it again."""

    code = "greengrass-conflict"
    transient = True


class Refused(GreengrassError):
    """The nucleus refuses the operation, or does not have it."""

    code = "greengrass-refused"
