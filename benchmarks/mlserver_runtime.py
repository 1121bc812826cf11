"""The same image job as an MLServer runtime: a JPEG in, decoded, prepared, judged by the same ONNX model in-process.

It runs in MLServer's own environment (.venv-mlserver), by MLServer's own defaults: one inference worker, the v2 route,
the image as base64, which is how its clients send images.
"""

import base64
import os

import cv2
import numpy as np
import onnxruntime
from mlserver import MLModel
from mlserver.codecs import StringCodec
from mlserver.types import InferenceRequest, InferenceResponse

LABELS = ("good", "scratch", "pit", "stain", "dent")
SIZE = 160
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)


class SurfaceDefect(MLModel):
    """Judges one image a request."""

    async def load(self) -> bool:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = len(os.sched_getaffinity(0))
        self._session = onnxruntime.InferenceSession(
            self.settings.parameters.uri, options, providers=["CPUExecutionProvider"]
        )
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        jpeg = base64.b64decode(payload.inputs[0].data[0])
        image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        image = cv2.cvtColor(cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)
        tensor = np.ascontiguousarray(((image.astype(np.float32) / 255 - MEAN) / STD).transpose(2, 0, 1)[np.newaxis])
        logits = self._session.run(None, {"image": tensor})[0][0]
        verdict = "pass" if LABELS[int(logits.argmax())] == "good" else "fail"
        return InferenceResponse(model_name=self.name, outputs=[StringCodec.encode_output("verdict", [verdict])])
