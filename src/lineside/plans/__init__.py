"""TensorRT engines that a device builds itself from ONNX (plans, in Triton's word), and the folder that keeps them.

The inference service decides which plan is wanted and when it may be built; the builder, beside Triton where TensorRT
and the GPU are, builds one at a time. They speak by files of the one folder that both have:

    ask.json        the inference service's: what to build, whether now, what to delete
    builder.json    the builder's: what the device is, what it does, what became of the last build
    builder.lock    held by the builder, and by trtexec under it, for as long as one of them lives
    building/       a build under way; never looked at by anybody else
    models/<plan>/  a model repository of Triton: 1/model.plan, and plan.json that says what it was built of

Whatever runs here (`python3 -m lineside.plans`) needs Python 3.10 and its standard library only: Triton's image has no
more.
"""
