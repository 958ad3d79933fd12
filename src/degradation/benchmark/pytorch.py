"""The same network in PyTorch, for comparison; PyTorch is no requirement."""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F


def torch_step(depth: int, residual: bool, compiled: bool, batch: int, threads: int) -> Callable:
    """Return one update of a CIFAR network on a constant batch: its input costs nothing.

    Eager in float32, or with `compiled` through `torch.compile`, in bfloat16 and channels-last.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = Network(depth, residual)
    images = torch.randn(batch, 3, 32, 32)
    labels = torch.randint(10, (batch,))
    if compiled:
        model = model.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    forward = torch.compile(model) if compiled else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=compiled):
            logits = forward(images)
        F.cross_entropy(logits.float(), labels).backward()
        optimizer.step()

    return step


class Network(nn.Module):
    """A plain or residual network of 6n+2 layers, option A shortcuts (He et al. 2015, 4.2)."""

    def __init__(self, depth: int, residual: bool):
        super().__init__()
        blocks, channels = [], 16
        for width in (16, 32, 64):
            for _ in range((depth - 2) // 6):
                blocks.append(Block(channels, width, residual))
                channels = width
        self.stem = nn.Sequential(*_conv_bn(3, 16, 1), nn.ReLU())
        self.blocks = nn.Sequential(*blocks)
        self.logits = nn.Linear(64, 10)

    def forward(self, images):
        """Map images `[batch, 3, 32, 32]` to logits `[batch, 10]`."""
        return self.logits(self.blocks(self.stem(images)).mean((2, 3)))


class Block(nn.Module):
    """Two 3×3 convolutions, with or without the shortcut around them."""

    def __init__(self, channels: int, width: int, residual: bool):
        super().__init__()
        self.stride = 2 if channels != width else 1
        self.new = (width - channels) // 2
        self.residual = residual
        first, second = _conv_bn(channels, width, self.stride), _conv_bn(width, width, 1)
        self.main = nn.Sequential(*first, nn.ReLU(), *second)

    def forward(self, x):
        """Apply the block."""
        y = self.main(x)
        if self.residual:
            shortcut = x[:, :, :: self.stride, :: self.stride]
            y = y + F.pad(shortcut, (0, 0, 0, 0, self.new, self.new))
        return F.relu(y)


def _conv_bn(channels: int, width: int, stride: int) -> tuple[nn.Module, nn.Module]:
    convolution = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight)
    return convolution, nn.BatchNorm2d(width, eps=1e-5, momentum=0.1)
