"""torch_graph.py: a product with 4-bit weights on torch's tensors, in torch's stream, inside a captured CUDA graph.

Nothing is copied: DLPack shows the library where the tensors lie. Exit 77, with the reason, where there is no GPU.
"""
import sys

import numpy as np

import qz


def skip(reason):
    print(f"SKIPPED: {reason}")
    sys.exit(77)


def main():
    try:
        import torch
    except ImportError:
        skip("torch is not installed")
    if not torch.cuda.is_available():
        skip("torch sees no GPU")
    rows, cols, tokens = 4096, 4096, 8
    weight = np.random.default_rng(0).normal(0, 0.02, (rows, cols)).astype(np.float32)
    packed = qz.Packed.quantize(weight, qz.Scheme(4, 128, scale="f16"))
    try:
        on_gpu = packed.to_device(torch.cuda.current_device())
    except qz.Error as problem:
        skip(problem)

    x = torch.zeros(tokens, cols, dtype=torch.float16, device="cuda")
    y = torch.empty(tokens, rows, dtype=torch.float16, device="cuda")
    workspace = torch.zeros(max(on_gpu.workspace_bytes(x, y), 256), dtype=torch.uint8, device="cuda")
    reference = torch.from_numpy(packed.dequantize()).to("cuda", torch.float64)

    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):  # torch makes a stream of its own the current one while it captures
        x.mul_(0.5)
        on_gpu.multiply_into(x, y, stream=torch.cuda.current_stream().cuda_stream, workspace=workspace)
        z = y.float().sum(dim=1)

    for seed in range(3):
        torch.manual_seed(seed)
        fresh = torch.randn(tokens, cols, device="cuda").half()
        x.copy_(fresh)
        graph.replay()
        expected = (fresh.double() / 2) @ reference.T
        error = ((y.double() - expected).norm() / expected.norm()).item()
        print(f"replay {seed}: relative error {error:.2e}, first sum {z[0].item():.3f}")
        if not error < 2e-3:
            sys.exit("the product in the graph is not the product")


if __name__ == "__main__":
    main()
