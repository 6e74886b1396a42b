"""The losses of a Wasserstein GAN with gradient penalty (Gulrajani 2017), as equations 2 and 3 of Simarro 2020 print them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def critic_wasserstein(of_real: Tensor, of_fake: Tensor) -> Tensor:
    """The first two terms of L_D: E[D(x̃)] − E[D(x)]. Both (batch, 1); a scalar."""
    return of_fake.float().mean() - of_real.float().mean()


def generator_wasserstein(of_fake: Tensor) -> Tensor:
    """L_G = −E[D(x̃)]; a scalar."""
    return -of_fake.float().mean()


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """E[(‖∇D(x̂)‖₂ − 1)²] at x̂ between real and fake; a scalar that can be differentiated again.

    real, fake: (batch, …); mix: (batch,) in [0, 1], the share of the real one. λ is the caller's.
    """
    share = mix.reshape(-1, *[1] * (real.ndim - 1))
    between = (share * real + (1 - share) * fake).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).float().sum(), between, create_graph=True)
    penalty: Tensor = (gradient.float().flatten(1).norm(dim=1) - 1).square().mean()
    return penalty
