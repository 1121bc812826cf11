import pytest
from botocore import exceptions

from lineside_fleet.aws.clients import Api
from lineside_fleet.errors import AwsError


def answered(code, status=400, message="it says so"):
    response = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return exceptions.ClientError(response, "CreateDeployment")


class Client:
    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    def create_deployment(self, **parameters):
        self.asked.append(parameters)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.mark.parametrize(
    ("error", "words", "transient"),
    [
        (answered("ThrottlingException", 429), "was throttled", True),
        (answered("AccessDeniedException", 403), "Allow greengrass:CreateDeployment in the policy", False),
        (answered("ExpiredTokenException", 403), "the credentials are not taken", False),
        (answered("InternalServerException", 500), "failed at AWS", True),
        (answered("ConflictException", 409), "was refused: ConflictException: it says so", False),
        (exceptions.NoCredentialsError(), "no credentials here", False),
        (exceptions.NoRegionError(), "Set AWS_REGION", False),
        (exceptions.ConnectionClosedError(endpoint_url="http://x/y"), "may have been done all the same", True),
        (exceptions.ReadTimeoutError(endpoint_url="http://x/y"), "it looks first at what is there", True),
        (exceptions.ParamValidationError(report="nothing"), "Correct it and run the command again", False),
    ],
)
def test_a_call_that_came_to_nothing_is_one_sentence_with_the_next_step(error, words, transient):
    with pytest.raises(AwsError) as caught:
        Api(Client(error), "greengrassv2").ask("create_deployment")
    assert "greengrass:CreateDeployment" in str(caught.value)
    assert words in str(caught.value)
    assert caught.value.transient is transient


def test_an_error_that_is_expected_is_none():
    api = Api(Client(answered("ConflictException", 409)), "greengrassv2")
    assert api.call("create_deployment", absent=("ConflictException",)) is None


def test_a_listing_is_read_to_its_end():
    client = Client({"rows": [1, 2], "nextToken": "t"}, {"rows": [], "nextToken": "u"}, {"rows": [3]})
    assert list(Api(client, "greengrassv2").rows("create_deployment", "rows", size=2, filter="x")) == [1, 2, 3]
    assert client.asked == [
        {"maxResults": 2, "filter": "x"},
        {"maxResults": 2, "filter": "x", "nextToken": "t"},
        {"maxResults": 2, "filter": "x", "nextToken": "u"},
    ]


def test_a_stream_that_breaks_is_the_same_sentence():
    with pytest.raises(AwsError, match="s3:GetObject got no answer"), Api(Client(), "s3").reading("get_object"):
        raise exceptions.ReadTimeoutError(endpoint_url="http://x/y")
