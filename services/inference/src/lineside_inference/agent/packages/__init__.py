"""What LoadModel may name: a client's model on the disk, read, judged, and made ready for Triton.

    roots = Roots(settings' folders, work_root)     # relative urls count from work_root
    package = read_package(url, roots)              # PackageNotFound, PackagePathRefused, PackageUnusable

A package is Triton's model folder (`config.pbtxt` and versions), or a single `.onnx` or `.plan`, by its own path or by
its folder's, whose configuration is made from the file itself. One in an archive, as `lineside model pack` makes it, is
unpacked first, by a process that verifies it (`signed`). The folder of an Edge Manager package is one of the first two
with a `sagemaker_edge_manifest` in it. Files beside a model are left alone.

Blocking, all of it: call it in a thread.
"""
