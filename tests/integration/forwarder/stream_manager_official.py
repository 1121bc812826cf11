"""What AWS' own client makes of a server: run with that client's Python, given the port; prints what it saw as JSON.

With `describe STREAM` instead of a file it reads what stands in a stream of tasks, and checks it by its own rules.
"""

import json
import sys

from stream_manager import (
    ExportDefinition,
    MessageStreamDefinition,
    Persistence,
    ReadMessagesOptions,
    S3ExportTaskDefinition,
    S3ExportTaskExecutorConfig,
    StatusConfig,
    StatusLevel,
    StatusMessage,
    StrategyOnFull,
    StreamManagerClient,
    StreamManagerException,
    Util,
)


def refusal(call, *arguments):
    try:
        call(*arguments)
    except StreamManagerException as error:
        return type(error).__name__
    return "none"


def talk(client, file):
    saw = {}
    client.create_message_stream(
        MessageStreamDefinition(
            name="status", strategy_on_full=StrategyOnFull.OverwriteOldestData, persistence=Persistence.Memory
        )
    )
    definition = MessageStreamDefinition(
        name="tasks",
        max_size=1024 * 1024,
        strategy_on_full=StrategyOnFull.RejectNewData,
        persistence=Persistence.File,
        flush_on_write=True,
        export_definition=ExportDefinition(
            s3_task_executor=[
                S3ExportTaskExecutorConfig(
                    identifier="official",
                    status_config=StatusConfig(status_level=StatusLevel.INFO, status_stream_name="status"),
                )
            ]
        ),
    )
    client.create_message_stream(definition)
    saw["streams"] = client.list_streams()
    task = S3ExportTaskDefinition(input_url=f"file://{file}", bucket="amzn-s3-demo-bucket", key="a/b.txt")
    saw["sequence"] = client.append_message("tasks", Util.validate_and_serialize_to_json_bytes(task))
    words = []
    while "Success" not in words:
        for message in client.read_messages(
            "status", ReadMessagesOptions(desired_start_sequence_number=len(words), read_timeout_millis=5000)
        ):
            said = Util.deserialize_json_bytes_to_obj(message.payload, StatusMessage)
            words.append(said.status.name)
            saw["about"] = [
                said.status_context.stream_name,
                said.status_context.sequence_number,
                said.status_context.s3_export_task_definition.input_url,
            ]
    saw["words"] = words
    info = client.describe_message_stream("tasks")
    saw["size"] = info.definition.max_size
    saw["newest"] = info.storage_status.newest_sequence_number
    saw["exported"] = info.export_statuses[0].last_exported_sequence_number
    definition.max_size = 2 * 1024 * 1024
    client.update_message_stream(definition)
    saw["updated"] = client.describe_message_stream("tasks").definition.max_size
    definition.persistence = Persistence.Memory
    saw["refusals"] = [
        refusal(client.update_message_stream, definition),
        refusal(client.create_message_stream, definition),
        refusal(client.append_message, "nowhere", b"x"),
        refusal(client.read_messages, "tasks", ReadMessagesOptions(desired_start_sequence_number=7)),
    ]
    client.delete_message_stream("tasks")
    client.delete_message_stream("status")
    saw["left"] = client.list_streams()
    return saw


def main():
    try:
        client = StreamManagerClient(port=int(sys.argv[1]))
    except StreamManagerException as error:
        sys.stdout.write(json.dumps({"connect": type(error).__name__}))
        return
    try:
        if sys.argv[2] == "describe":
            info = client.describe_message_stream(sys.argv[3])
            messages = client.read_messages(
                sys.argv[3],
                ReadMessagesOptions(desired_start_sequence_number=0, min_message_count=1, max_message_count=100),
            )
            tasks = [
                Util.deserialize_json_bytes_to_obj(message.payload, S3ExportTaskDefinition) for message in messages
            ]
            saw = {
                "strategy": info.definition.strategy_on_full.name,
                "persistence": info.definition.persistence.name,
                "status": info.definition.export_definition.s3_task_executor[0].status_config.status_stream_name,
                "keys": [json.loads(Util.validate_and_serialize_to_json_bytes(task))["key"] for task in tasks],
            }
        else:
            saw = talk(client, sys.argv[2])
        sys.stdout.write(json.dumps(saw))
    finally:
        client.close()


if __name__ == "__main__":
    main()
