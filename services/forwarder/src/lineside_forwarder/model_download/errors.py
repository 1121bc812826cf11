"""Why models were not fetched."""

from lineside.errors import LinesideError


class NotFetched(LinesideError):
    """The models of a folder in S3 are not here: what was wrong, and what to do."""

    code = "models-not-fetched"

    def __str__(self) -> str:
        return f"{self.what}: {self.remedy}" if self.remedy else self.what
