"""How much quicker is a training step with our gradients of depthwise convolutions (nbs/library/small_encoder.ipynb)?

    python benchmarks/depthwise.py

Steps with PyTorch's gradients and with ours take turns in one process; medians of processor time, one thread, float32, all layers learning.
"""
import statistics
import time

import torch

from colorizer.training import small_encoder
from colorizer.training.architecture import create_unet

ROUNDS = 9


def step(model, size, batch):
    "Seconds of processor time that one step takes, without the optimiser"
    grey = torch.rand(batch, 1, size, size).contiguous(memory_format=torch.channels_last)
    began = time.process_time()
    model.zero_grad()
    model(grey).mean().backward()
    return time.process_time() - began


def main():
    torch.set_num_threads(1)
    model = create_unet(pretrained=False).train().to(memory_format=torch.channels_last)
    slow = small_encoder._slow_gradient
    ways = {"PyTorch's": lambda m, half=True: False, 'ours': slow}
    print('| size | photos a step | PyTorch\'s, s | ours, s | ratio |\n|---:|---:|---:|---:|---:|')
    for size, batch in ((32, 8), (64, 8), (64, 32), (128, 16), (256, 4)):
        took = {k: [] for k in ways}
        for _ in range(ROUNDS):
            for name, way in ways.items():
                small_encoder._slow_gradient = way
                took[name].append(step(model, size, batch))
        small_encoder._slow_gradient = slow
        usual, ours = (statistics.median(took[k][1:]) for k in ways)
        print(f'| {size} | {batch} | {usual:.3f} | {ours:.3f} | {ours/usual:.2f} |', flush=True)


if __name__ == '__main__': main()
