"""The errors of the deployer.

DeploymentError        something of a deployment did not come about
+-- DocumentRefused    the desired state cannot be read, or says what may not be: nothing of it is done
+-- PackageAway        a package cannot be had now; the next try may have it
+-- PackageWrong       what was fetched is not what the desired state names, or is not to be trusted
|   +-- PackageRefused the store does not give it: there is none, or this box may not have it
+-- ChangeFailed       the repository or the inference service did not take a model
RepositoryInUse        another deployer has this folder
"""

from lineside.errors import LinesideError


class DeploymentError(LinesideError):
    """Something of a deployment did not come about."""

    code = "deployment"


class DocumentRefused(DeploymentError):
    """The desired state cannot be read, or says what may not be: nothing of it is done."""

    code = "desired-state-refused"


class PackageAway(DeploymentError):
    """A package or the desired state cannot be had now; the next try may have it."""

    code = "package-away"
    transient = True


class PackageWrong(DeploymentError):
    """What was fetched is not what the desired state names, or is not to be trusted."""

    code = "package-wrong"


class PackageRefused(PackageWrong):
    """The store does not give a package: there is none, or this box may not have it; somebody may mend that."""

    code = "package-refused-by-store"


class ChangeFailed(DeploymentError):
    """The repository or the inference service did not take a model."""

    code = "change-failed"


class RepositoryInUse(LinesideError):
    """Another deployer has this folder."""

    code = "repository-in-use"
