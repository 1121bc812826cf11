"""A component that knows Edge Manager's agent only: it waits for the socket, loads, predicts, captures, unloads.

python -m tests.support.edge_client SOCKET FOLDER OUT    what it got is written to OUT as JSON; FOLDER has its model
"""

import json
import sys
import time
from pathlib import Path

import grpc
import numpy as np
import sysv_ipc

from tests.support.agent_client import AgentClient, array_of

MODEL, CAPTURE = "client-model", "capture-of-client"
IMAGE = np.ones((1, 3), np.float32)


def main(socket: str, folder: str, out: str) -> None:
    """Do what the samples do, in their order."""
    while not Path(socket).exists():
        time.sleep(0.1)
    found: dict[str, object] = {}
    segment = sysv_ipc.SharedMemory(None, flags=sysv_ipc.IPC_CREX, mode=0o600, size=IMAGE.nbytes)
    try:
        with AgentClient(Path(socket)) as client:
            try:
                client.LoadModel(url=folder, **client.named(MODEL))
            except grpc.RpcError as error:
                if "ALREADY_EXISTS" not in str(error):
                    raise
            found["models"] = [model.handle for model in client.ListModels().models]
            found["bytes"] = client.predict(MODEL, {"x": IMAGE})["y"].ravel().tolist()
            segment.write(IMAGE.tobytes())
            handle = client.of.SharedMemoryHandle(segment_id=segment.id)
            tensor = client.of.Tensor(tensor_metadata=client.metadata("x", IMAGE), shared_memory_handle=handle)
            answer = client.Predict(tensors=[tensor], **client.named(MODEL))
            found["segment"] = array_of(answer.tensors[0]).ravel().tolist()
            client.CaptureData(
                model_handle=MODEL,
                capture_id=CAPTURE,
                input_tensors=[client.tensor("x", IMAGE)],
                output_tensors=[client.tensor("y", IMAGE)],
            )
            client.UnLoadModel(**client.named(MODEL))
    finally:
        segment.remove()
    Path(out).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
