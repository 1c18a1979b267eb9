"""The fast path at batch size 1 on a CPU: the plain network's mathematics over flat, reused buffers."""
