"""The desired state: a document as Edge Manager's devices got it, and the places where it may be."""
