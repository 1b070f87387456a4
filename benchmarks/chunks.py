"""Memory and time of a training step in chunks (batch.chunk) against the whole step, each in a process of its own.

    python benchmarks/chunks.py                      64 places x 4 images, ResNet50, 128 x 128; minutes on two cores
    python benchmarks/chunks.py --places 16 --chunk 8 --cases 32-true

A step is `describe_in_chunks`, the multi-similarity loss of the whole batch and the backward pass, without the
optimiser. Memory is the peak over that before the step: of the process on a CPU (VmHWM), allocated tensors on a GPU.
The first step of a process is made with 8 images and not measured. Cases: float32, mixed precision, and two processes
that share the batch. It ends with exit code 1 where a ratio is above the limit.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

CASES = {"32-true": ("32-true", 1), "bf16-mixed": ("bf16-mixed", 1), "two processes": ("32-true", 2)}
MOST_MEMORY, MOST_TIME = 0.35, 1.6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--places", type=int, default=64, help="4 images each")
    parser.add_argument("--chunk", type=int, default=32)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--step", help=argparse.SUPPRESS)  # of a process that this one starts
    args = parser.parse_args()
    if args.step:
        print(json.dumps(step(args, **json.loads(args.step))))
        return
    print("| case | memory whole, MiB | in chunks | ratio | seconds whole | in chunks | ratio | processor time |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    high = False
    for name in args.cases:
        whole, chunked = (measure(args, *CASES[name], chunk) for chunk in (None, args.chunk))
        memory, seconds, processor = (chunked[key] / whole[key] for key in ("memory", "seconds", "processor"))
        print(
            f"| {name} | {whole['memory'] / 2**20:,.0f} | {chunked['memory'] / 2**20:,.0f} | {memory:.2f} "
            f"| {whole['seconds']:.1f} | {chunked['seconds']:.1f} | {seconds:.2f} | {processor:.2f} |",
            flush=True,
        )
        high |= memory > MOST_MEMORY or min(seconds, processor) > MOST_TIME
    print(f"limits: memory {MOST_MEMORY}, time {MOST_TIME} (processor time where other processes disturb)")
    sys.exit(1 if high else 0)


def measure(args: argparse.Namespace, precision: str, ranks: int, chunk: int | None) -> dict[str, float]:
    """Start the processes of a case, and return the most memory, and the longest time, of one of them."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
    processes = []
    for rank in range(ranks):
        settings = {"precision": precision, "ranks": ranks, "rank": rank, "port": port, "chunk": chunk}
        words = [f"--{key}={getattr(args, key)}" for key in ("places", "side", "backbone", "device")]
        command = [sys.executable, __file__, *words, "--step", json.dumps(settings)]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    results = [json.loads(process.communicate()[0].splitlines()[-1]) for process in processes]
    return {key: max(result[key] for result in results) for key in results[0]}


def step(
    args: argparse.Namespace, precision: str, ranks: int, rank: int, port: int, chunk: int | None
) -> dict[str, float]:
    """Make one step in this process: bytes over those before, seconds, and seconds of processor time."""
    import torch
    import torch.distributed as dist
    from hydra.utils import instantiate
    from omegaconf import OmegaConf
    from torch import nn

    from vpr.losses.objective import PlacesObjective
    from vpr.models.describer import build_describer
    from vpr.training.module import describe_in_chunks
    from vpr.types import PlaceBatch

    conf = Path(__file__).parents[1] / "conf"
    device = torch.device(args.device, rank) if args.device == "cuda" else torch.device("cpu")
    if ranks > 1:
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        torch.set_num_threads(max(1, torch.get_num_threads() // ranks))
        dist.init_process_group("nccl" if args.device == "cuda" else "gloo", rank=rank, world_size=ranks)

    class Step(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            nodes = [OmegaConf.to_container(OmegaConf.load(conf / name)) for name in of_network]
            self.describer = build_describer({**nodes[0], "weights": "none"}, nodes[1], {"size": [args.side] * 2})
            self.objective = PlacesObjective(instantiate(OmegaConf.load(conf / "loss" / "multi_similarity.yaml")))

        def forward(self, images: torch.Tensor, labels: torch.Tensor, chunk: int | None) -> torch.Tensor:
            features, descriptors = describe_in_chunks(self.describer, self.describer.normalise(images), chunk)
            return self.objective(features, descriptors, PlaceBatch(images, labels)).value

    of_network = (f"backbone/{args.backbone}.yaml", "agg/gem.yaml")
    torch.manual_seed(0)
    module: nn.Module = Step().to(device).train()
    if ranks > 1:
        module = nn.parallel.DistributedDataParallel(module)
    labels = torch.arange(args.places, device=device).tensor_split(ranks)[rank].repeat_interleave(4)
    images = torch.randint(0, 256, (len(labels), 3, args.side, args.side), dtype=torch.uint8, device=device)

    def run(images: torch.Tensor, labels: torch.Tensor, chunk: int | None) -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16-mixed"):
            loss = module(images, labels, chunk)
        loss.backward()
        if device.type == "cuda":
            torch.cuda.synchronize()

    run(images[:8], labels[:8], None)
    module.zero_grad(set_to_none=True)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    else:
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = of_process("VmRSS")
    began, processor = time.perf_counter(), time.process_time()
    run(images, labels, chunk)
    seconds, processor = time.perf_counter() - began, time.process_time() - processor
    peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else of_process("VmHWM")
    if ranks > 1:
        dist.destroy_process_group()
    return {"memory": float(peak - before), "seconds": seconds, "processor": processor}


def of_process(name: str) -> int:
    """Return a number of bytes that Linux notes down about this process."""
    return 1024 * int(re.search(rf"{name}:\s*(\d+) kB", Path("/proc/self/status").read_text())[1])  # type: ignore[index]


if __name__ == "__main__":
    main()
