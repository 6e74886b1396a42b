"""The two losses of Nguyen 2020, and how their signs are read; the prior of variational autoencoders, WGAN-GP's penalty.

Equations 2 to 4 and Algorithm 1 do not agree as printed. Line 10 of the algorithm updates G along
−∇ λ_rec L_rec + λ_adv L_adv; without parentheses G would *increase* log(1 − D(x̂)), that is help D. Line 11 updates D
along +∇, so `update` is an ascent step and line 10 must mean −∇(λ_rec L_rec + λ_adv L_adv): G descends on both terms, as
equation 3 says, while D ascends on equation 4 (which is therefore no loss but the negative of one).
For G's second term −log D(x̂) stands in for log(1 − D(x̂)): same fixed point, but a gradient where D is sure
(Goodfellow 2014, section 3). D's loss is the negative of equation 4, as binary cross-entropy on logits.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def l1_inside(filled: Tensor, image: Tensor, window: Tensor) -> Tensor:
    """Mean absolute difference over the pixels of the windows; a scalar."""
    return ((filled - image).abs() * window).sum() / window.sum()


def fool_loss(logits_of_fake: Tensor) -> Tensor:
    """G's adversarial term: how far D is from taking the reconstruction for a slice."""
    return functional.binary_cross_entropy_with_logits(logits_of_fake, torch.ones_like(logits_of_fake))


def critic_loss(logits_of_real: Tensor, logits_of_fake: Tensor) -> Tensor:
    """D's loss: the negative of equation 4."""
    real = functional.binary_cross_entropy_with_logits(logits_of_real, torch.ones_like(logits_of_real))
    fake = functional.binary_cross_entropy_with_logits(logits_of_fake, torch.zeros_like(logits_of_fake))
    return real + fake


def kl_to_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """D_KL(N(mean, exp(log_variance)) ‖ N(0, I)), summed over each z (Kingma 2014, appendix B): (batch, …) to (batch,)."""
    parts = mean.square() + log_variance.exp() - 1 - log_variance
    return parts.flatten(1).sum(dim=1) / 2


def gradient_penalty(critic: nn.Module, image: Tensor) -> Tensor:
    """How far the length of D's gradient is from 1 at each slice of (batch, …), squared, the mean (Gulrajani 2017, eq. 3)."""
    image = image.detach().requires_grad_()
    (slope,) = torch.autograd.grad(critic(image).sum(), image, create_graph=True)
    excess: Tensor = slope.flatten(1).norm(dim=1) - 1
    return excess.square().mean()
