"""`lineside greengrass cloud`, as a newcomer starts it."""

import signal
import subprocess
import sys

import boto3

from lineside_bench.cloud.sample import FLEET
from tests.support.waiting import HANG_S


def test_the_command_says_where_it_is_serves_a_fleet_and_ends_when_told():
    command = [sys.executable, "-m", "lineside", "greengrass", "cloud", "--devices", "5", "--minute-s", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            lines = [process.stdout.readline().removeprefix("export ").strip().partition("=") for _ in range(5)]
            given = {name: value for name, _, value in lines}
            client = boto3.client(
                "greengrassv2",
                endpoint_url=given["AWS_ENDPOINT_URL_GREENGRASSV2"],
                region_name=given["AWS_DEFAULT_REGION"],
                aws_access_key_id=given["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=given["AWS_SECRET_ACCESS_KEY"],
            )
            arn = f"arn:aws:iot:{given['AWS_DEFAULT_REGION']}:123456789012:thinggroup/{FLEET}"
            assert len(client.list_core_devices(thingGroupArn=arn)["coreDevices"]) == 5
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(HANG_S) == 0
