"""The alternative that the line is measured against: one hand-written script that does it all in one process.

An OPC UA subscription, the camera's snapshot, OpenCV, Triton over gRPC, the write-back. No topics, no durability, no
deadline, no reconnecting, no settings: what an engineer writes in an afternoon, written well (one event loop, kept
connections, one write call for the values). It judges the same parts with the same model on the same Triton.

    python one_process.py '{"opcua": "opc.tcp://...", "triton": "...", "camera": "http://...", "stations": 4}'

Prints `ready` when it is subscribed; runs until SIGTERM.
"""

import asyncio
import json
import sys
import uuid

import cv2
import httpx
import numpy as np
import tritonclient.grpc.aio as triton
from asyncua import Client, ua

LABELS = ("good", "scratch", "pit", "stain", "dent")
SIZE = 160
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
PERIOD_MS = 20


class Station:
    def __init__(self, number: int, client: Client, index: int) -> None:
        self.name = f"station-{number}"
        names = ("PartPresent", "PartId", "Verdict", "Confidence", "RequestId", "Done")
        self.nodes = {name: client.get_node(f"ns={index};s=Station{number}.{name}") for name in names}


class Script:
    def __init__(self, config: dict) -> None:
        self.config = config
        self.by_node: dict[ua.NodeId, Station] = {}
        self.under_way: set[asyncio.Task] = set()

    def datachange_notification(self, node, value, _data) -> None:
        if value:
            task = asyncio.create_task(self.judge(self.by_node[node.nodeid]))
            self.under_way.add(task)
            task.add_done_callback(self.under_way.discard)

    async def judge(self, station: Station) -> None:
        await station.nodes["PartId"].read_value()
        answer = await self.http.get(f"{self.config['camera']}/{station.name}/snapshot.jpg")
        answer.raise_for_status()
        image = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)
        image = cv2.cvtColor(cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)
        tensor = ((image.astype(np.float32) / 255 - MEAN) / STD).transpose(2, 0, 1)[np.newaxis]
        wanted = triton.InferInput("image", list(tensor.shape), "FP32")
        wanted.set_data_from_numpy(np.ascontiguousarray(tensor))
        result = await self.triton.infer("surface-defect", [wanted])
        logits = result.as_numpy("logits")[0]
        scores = np.exp(logits - logits.max())
        scores /= scores.sum()
        best = int(scores.argmax())
        await self.client.write_values(
            [station.nodes[name] for name in ("Verdict", "Confidence", "RequestId")],
            [
                ua.DataValue(ua.Variant("pass" if LABELS[best] == "good" else "fail", ua.VariantType.String)),
                ua.DataValue(ua.Variant(float(scores[best]), ua.VariantType.Double)),
                ua.DataValue(ua.Variant(str(uuid.uuid4()), ua.VariantType.String)),
            ],
        )
        await station.nodes["Done"].write_value(
            ua.DataValue(ua.Variant(Value=True, VariantType=ua.VariantType.Boolean))
        )

    async def run(self) -> None:
        self.http = httpx.AsyncClient(trust_env=False)
        self.triton = triton.InferenceServerClient(self.config["triton"])
        async with Client(self.config["opcua"]) as client:
            self.client = client
            index = await client.get_namespace_index("urn:lineside:bench")
            stations = [Station(number, client, index) for number in range(1, self.config["stations"] + 1)]
            triggers = [station.nodes["PartPresent"] for station in stations]
            self.by_node = {node.nodeid: station for node, station in zip(triggers, stations, strict=True)}
            subscription = await client.create_subscription(PERIOD_MS, self)
            await subscription.subscribe_data_change(triggers, queuesize=10)
            print("ready", flush=True)
            await asyncio.Event().wait()


asyncio.run(Script(json.loads(sys.argv[1])).run())
