"""Regression with a deviation: overlaps of Gaussians, and likelihoods."""
from __future__ import annotations
import math
from typing import Any, Callable, Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import Unpack

from mmlosses.core.base import BaseLoss, CommonArguments, Inputs
from mmlosses.core.checks import check_choice, check_floating, check_number
from mmlosses.core.info import LossInfo, Paper
from mmlosses.core.kernels.attenuated import attenuated
from mmlosses.core.keypoints import KeypointLoss, PointLoss
from mmlosses.core.numeric import coordinates_first
from mmlosses.core.tensors import pad_right
from mmlosses.registry import MODELS

SCALES = ('std', 'var', 'log_var', 'softplus', 'sigmoid')

# Predicted standard deviations, in units of the target's, are clamped to
# these: their squares, and the distances divided by them, are finite.
LEAST_STD, GREATEST_STD = 1e-4, 1e18

UNCERTAINTIES = Paper(
    'Alex Kendall, Yarin Gal',
    'What Uncertainties Do We Need in Bayesian Deep Learning for Computer '
    'Vision?', 'NIPS', 2017, '1703.04977')


def variances(raw: Tensor, sigma: Tensor, scale: str) -> Tensor:
    """Return predicted variances, in units of the target's variance."""
    if scale == 'log_var':
        # Clamped before the exponential, whose gradient would be infinite.
        return torch.clamp(
            raw - 2 * sigma.log(),
            min=2 * math.log(LEAST_STD),
            max=2 * math.log(GREATEST_STD)).exp()
    if scale == 'softplus':
        raw = F.softplus(raw)
    elif scale == 'sigmoid':
        raw = torch.sigmoid(raw)
    variance = raw / sigma**2 if scale == 'var' else (raw / sigma)**2
    return variance.clamp(min=LEAST_STD**2, max=GREATEST_STD**2)


def log_overlap(distance: Tensor, variance: Tensor) -> Tensor:
    r"""Log of the integral of the product of two Gaussians: (\*).

    From the difference of their means and the sum of their variances, (n, \*),
    without the constant ``-n / 2 * log(2 pi)``.
    """
    # Divided by the deviation and then squared: dividing by the variance has
    # an infinite gradient far away.
    square = (distance * variance.rsqrt())**2
    return -0.5 * (square + variance.log()).sum(dim=0)


def log_self_overlap(mean: Tensor, variance: Tensor) -> Tensor:
    r"""Logs of the terms of the integral of a squared sum of I Gaussians.

    Means and variances are (n, I, \*), the result (T, \*), in units of the
    integral of the square of a Gaussian of variance 1.
    """
    n, components = mean.shape[:2]
    own = -0.5 * variance.log().sum(dim=0)
    if components == 1:
        return own
    # Each pair once: all neighbours on a ring, then those at distance 2, ...
    pair = torch.arange(components * (components - 1) // 2, device=mean.device)
    one = pair % components
    other = (one + pair // components + 1) % components
    both = log_overlap(
        mean.index_select(1, one) - mean.index_select(1, other),
        variance.index_select(1, one) + variance.index_select(1, other))
    return torch.cat([own, both + (n + 2) / 2 * math.log(2)])


def propel_loss(pred: Tensor,
                target: Tensor,
                sigma: float | Sequence[float] = 0.1,
                scale: str = 'std',
                compat: str | None = None) -> Tensor:
    r"""Negative log overlap of a mixture with a Gaussian: (\*).

    Args: see :class:`PROPELLoss`; ``pred`` (\*, I, 2n), ``target`` (\*, n).
    """
    n = target.shape[-1]
    # Coordinates and components first: whole rows are added much faster.
    both = pred.movedim((-1, -2), (0, 1)).contiguous()
    return mixture_loss(both[:n], both[n:], target.movedim(-1, 0), sigma,
                        scale, compat)


def mixture_loss(mean: Tensor, raw: Tensor, target: Tensor,
                 sigma: float | Sequence[float], scale: str,
                 compat: str | None) -> Tensor:
    r""":func:`propel_loss` of means, scales (n, I, \*) and targets (n, \*)."""
    n = len(mean)
    sigmas = sigma if isinstance(sigma, (list, tuple)) else [sigma]
    # Filled on the device: a tensor made of a list would be copied there.
    deviation = pad_right(
        torch.stack([mean.new_full((), s) for s in sigmas]), mean.ndim)
    # In units of the target's deviation, which the loss does not depend on.
    mean = (mean - target.unsqueeze(1)) / deviation
    variance = variances(raw, deviation, scale)
    if compat is None:
        return unit_loss(mean, variance)
    # The package treats the target as one-dimensional.
    excess = (n - 1) * math.log(2 * math.sqrt(math.pi) * sigmas[0])
    return unit_loss(mean, variance, excess) / math.log(10)


def unit_loss(mean: Tensor, variance: Tensor, excess: float = 0.0) -> Tensor:
    r"""PROPEL of means and variances (n, I, \*) to the standard Gaussian.

    ``excess`` is an error of the log of the target's overlap with itself.
    """
    n, components = mean.shape[:2]
    log_fg = log_overlap(mean, variance + 1)
    log_fg = log_fg.squeeze(0) if components == 1 else log_fg.logsumexp(dim=0)
    # In units of <f, f>, and times the square of the number of components.
    log_gg = log_self_overlap(mean, variance)
    log_ff = torch.full_like(log_gg[:1], 2 * math.log(components) + excess)
    loss = torch.cat([log_gg, log_ff]).logsumexp(dim=0) - log_fg
    return loss - math.log(2 * components) - 0.5 * n * math.log(2)


def g_function(muM1: Tensor, sigmaM1: Tensor, muM2: Tensor,
               sigmaM2: Tensor) -> Tensor:
    r"""Integral of the product of two Gaussians, torchpropel's G.

    .. math::
        G = \prod_d \frac{1}{\sqrt{2 \pi (\sigma_{1d} + \sigma_{2d})}}
        e^{-(\mu_{1d} - \mu_{2d})^2 / 2 (\sigma_{1d} + \sigma_{2d})}

    Args:
        muM1, muM2 (Tensor): Means (\*, n), which broadcast; (B, n) beside
            others (B, I, n) are of one Gaussian for each sample.
        sigmaM1, sigmaM2 (Tensor): **Variances**, of the shape of the means or
            one that broadcasts to it. The package calls them standard
            deviations, but passes their squares, as the equation requires.

    Returns:
        Tensor: (\*).
    """
    axes = max(muM1.ndim, muM2.ndim)
    mean1, var1, mean2, var2 = [
        x.unsqueeze(-2) if 1 < x.ndim < axes else x
        for x in (muM1, sigmaM1, muM2, sigmaM2)
    ]
    distance, variance = torch.broadcast_tensors(mean1 - mean2, var1 + var2)
    return torch.exp(
        log_overlap(distance.movedim(-1, 0), variance.movedim(-1, 0)) -
        0.5 * distance.shape[-1] * math.log(2 * math.pi))


def h_function(sigmaM: Tensor) -> Tensor:
    r"""Integral of the square of a Gaussian, torchpropel's H.

    .. math:: H = \prod_d \frac{1}{2 \sqrt{\pi \sigma_d}}

    Args:
        sigmaM (Tensor): **Variances** (\*, n), see :func:`g_function`.

    Returns:
        Tensor: (\*).
    """
    return torch.exp(-0.5 * (4 * math.pi * sigmaM).log().sum(dim=-1))


def getloss(muG: Tensor, sigmaG: Tensor, muM: Tensor,
            sigmaM: Tensor) -> Tensor:
    r"""PROPEL of given means and variances, torchpropel's ``getloss``.

    .. math::
        L = -\log \frac{2}{I} \sum_i G(P_{gt}, P_i) + \log \left[ H(P_{gt}) +
        \frac{1}{I^2} \sum_i H(P_i) + \frac{2}{I^2} \sum_{i < j} G(P_i, P_j)
        \right]

    It is computed in log space, so it is finite where G is 0. The package
    takes the logarithm to base 10, counts one dimension in
    :math:`H(P_{gt})`, and also returns the two arguments of the logarithms.

    Args:
        muG (Tensor): Means (B, n) of the targets.
        sigmaG (Tensor): Their **variances**, (B, n), (n,), (1, 1, 1) or 0-dim.
        muM (Tensor): Means (B, I, n) of the I predicted Gaussians.
        sigmaM (Tensor): Their **variances** (B, I, n).

    Returns:
        Tensor: (B,).
    """
    if sigmaG.ndim == 2:
        sigmaG = sigmaG.unsqueeze(1)
    mean = (muM - muG.unsqueeze(1)) * sigmaG.rsqrt()
    return unit_loss(
        mean.movedim((-1, -2), (0, 1)), (sigmaM / sigmaG).movedim((-1, -2),
                                                                  (0, 1)))


def unpack_prediction(pred: Tensor, num_dims: int) -> Tuple[Tensor, Tensor]:
    r"""Split a prediction (\*, 2n) into means and scales (\*, n), n given."""
    if pred.shape[-1] != 2 * num_dims:
        raise ValueError(f'pred must hold {num_dims} means and {num_dims} '
                         f'scales, got {tuple(pred.shape)}')
    return pred[..., :num_dims], pred[..., num_dims:]


@MODELS.register_module(name=['PROPELLoss', 'PROPEL'])
class PROPELLoss(BaseLoss):
    r"""Distribution regression: overlap with a Gaussian at the target.

    .. math::
        L = \frac{1}{B} \sum_b -w_b \log \frac{2 \langle f_b, g_b \rangle}
        {\langle f_b, f_b \rangle + \langle g_b, g_b \rangle}, \qquad
        \langle f, g \rangle = \int f(x) \, g(x) \, dx

    with the density :math:`f` of a Gaussian at the target and that of the
    predicted mixture, :math:`g = \frac{1}{I} \sum_i P_i`, of I Gaussians with
    diagonal covariance. The integrals have a closed form. The loss is 0 where
    both densities are equal and positive elsewhere. Computed in log space, it
    is finite at any distance. Also registered as ``PROPEL``.

    Args:
        sigma (float | list[float]): Standard deviation of the target, in its
            units: one number, or one for each dimension. Scale the targets so
            that it is not tiny: the gradient of a mean grows with distance /
            sigma squared. Default: 0.1.
        scale (str): Meaning of the last n numbers of a component: ``'std'``,
            standard deviations, of any sign; ``'var'``, variances, positive;
            ``'log_var'``, logarithms of variances; ``'softplus'`` or
            ``'sigmoid'``, standard deviations after that function. Deviations
            are clamped to 0.0001 to 1e18 times sigma, without a gradient
            beyond. Default: ``'std'``.
        compat (str, optional): ``'torchpropel'`` gives the values of that
            package, with the first two errors below. Default: None.

    Shape:
        - pred: (B, I, 2n): n means, then n scales, of each of I components.
        - target: (B, n).
        - weight: (B,).
        - returns: 0-dim, or (B,) for ``'none'``.

    Differs from upstream:
        The package torchpropel, by the authors,

        - treats the target as one-dimensional in :math:`\langle f, f \rangle`,
          so that in more dimensions the loss is negative, and the best
          predicted scale is not sigma;
        - takes the logarithm to base 10, where the paper's is natural;
        - fails for one component;
        - gives inf and NaN gradients some ten deviations from the target, and
          NaN for a scale of 0;
        - returns (1, B) for ``'none'``;
        - swaps standard deviations and variances in its documentation.
    """
    info = LossInfo(
        purpose='regression with a predicted mixture of Gaussians',
        slots='``mmlosses.heads.rle.MixtureRLEHead`` for mmpose',
        expects='mixture',
        search=dict(sigma=(0.02, 0.5)),
        paper=Paper(
            'Muhammad Asad, Rilwan Basaru, S. M. Masudur Rahman Al Arif, '
            'Greg Slabaugh',
            'PROPEL: Probabilistic Parametric Regression Loss for '
            'Convolutional Neural Networks', 'ICPR', 2020, '1807.10937'))

    def __init__(self,
                 sigma: float | Sequence[float] = 0.1,
                 scale: str = 'std',
                 compat: str | None = None,
                 **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(**kwargs)
        several = isinstance(sigma, (list, tuple))
        for value in sigma if several else (sigma, ):  # type: ignore
            check_number('sigma', value, above=0)
        check_choice('scale', scale, SCALES)
        check_choice('compat', compat, (None, 'torchpropel'))
        if compat is not None and several and len(sigma) > 1:  # type: ignore
            raise ValueError('torchpropel has one sigma for all dimensions, '
                             f'got {sigma}')
        self.sigma, self.scale, self.compat = sigma, scale, compat

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        return propel_loss(pred, target, self.sigma, self.scale, self.compat)

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        if not (pred.ndim == 3 and target.ndim == 2
                and pred.shape[0] == target.shape[0] and pred.shape[1] > 0
                and pred.shape[2] == 2 * target.shape[1]):
            raise ValueError('pred must be (B, I, 2n) and target (B, n), got '
                             f'{tuple(pred.shape)} and {tuple(target.shape)}')
        self.check_dimensions(target.shape[1])
        return pred.shape[:1]

    def check_dimensions(self, n: int) -> None:
        """Raise a ``ValueError`` unless ``sigma`` has n dimensions."""
        if n == 0:
            raise ValueError('target must have at least one dimension, got 0')
        if isinstance(self.sigma, (list, tuple)) and len(self.sigma) != n:
            raise ValueError(f'target has {n} dimensions, but sigma '
                             f'{len(self.sigma)}: {self.sigma}')


@MODELS.register_module()
class KeypointPROPELLoss(PROPELLoss, KeypointLoss):
    r"""PROPEL for keypoints, with the call of mmpose's ``RLEHead``.

    .. math::
        L = \frac{1}{N K} \sum_{n, k} -w_{nk} \log
        \frac{2 \langle f_{nk}, g_{nk} \rangle}
        {\langle f_{nk}, f_{nk} \rangle + \langle g_{nk}, g_{nk} \rangle}

    with one predicted Gaussian :math:`g` for each of K keypoints, and the
    Gaussian :math:`f` at its target. Each element is one keypoint.

    Args:
        sigma (float | list[float]): See :class:`PROPELLoss`. Keypoints of
            mmpose's regression heads are in [0, 1]. Default: 0.1.
        scale (str): Meaning of the head's ``sigma``, see :class:`PROPELLoss`.
            ``RLEHead`` applies a sigmoid for prediction, and derives the
            keypoint scores from it: ``'sigmoid'`` fits. Default: ``'std'``.

    Shape:
        - mu, sigma, target: (N, K, n).
        - weight: (N,), (N, K) or (N, K, 1).
        - returns: 0-dim, or (N, K) for ``'none'``.

    Differs from upstream:
        - torchpropel has no weights, and fails for the one component that a
          keypoint has; see :class:`PROPELLoss` for its other errors.
        - ``RLELoss`` is a different loss, and sums over the keypoints, where
          this averages: adjust ``loss_weight``.
    """
    info = LossInfo(
        purpose='keypoint regression with a predicted deviation',
        slots="``loss`` of mmpose's ``RLEHead``",
        expects='mixture',
        search=dict(sigma=(0.02, 0.5)),
        paper=PROPELLoss.info.paper,
        source='The call is that of ``mmpose.RLELoss``.')

    def forward(self, mu: Tensor, sigma: Tensor, target: Tensor, *args: Any,
                **kwargs: Any) -> Tensor:
        """Compute the loss from the means, scales and targets of keypoints."""
        return super().forward((mu, sigma), target, *args, **kwargs)

    def elementwise(self, pred: Tuple[Tensor, Tensor],
                    target: Tensor) -> Tensor:
        mean, raw, target = [coordinates_first(x) for x in (*pred, target)]
        return mixture_loss(
            mean.unsqueeze(1), raw.unsqueeze(1), target, self.sigma,
            self.scale, self.compat)

    def element_shape(self, pred: Tuple[Tensor, Tensor],
                      target: Tensor) -> Sequence[int]:
        mu, sigma = pred
        if not mu.shape == sigma.shape == target.shape or mu.ndim != 3:
            raise ValueError(
                'mu, sigma and target must have one shape (N, K, n), got '
                f'{tuple(mu.shape)}, {tuple(sigma.shape)} and '
                f'{tuple(target.shape)}')
        self.check_dimensions(mu.shape[-1])
        return mu.shape[:2]


class RealNVP(nn.Module):
    r"""A density of the plane that is learned: RealNVP with 6 couplings.

    Each coupling moves one coordinate by functions of the other, which are
    small networks. At the start they are nearly 0, and the density nearly the
    standard Gaussian. Parameters and buffers have mmpose's names.

    Shape:
        - points: (\*, 2).
        - returns: the log density (\*).
    """
    couplings = 6

    def __init__(self) -> None:
        super().__init__()
        # In mmpose's checkpoints. Integers: they are not cast to half.
        self.register_buffer('loc', torch.zeros(2, dtype=torch.long))
        self.register_buffer('cov', torch.eye(2, dtype=torch.long))
        self.register_buffer(
            'mask', torch.tensor([[0, 1], [1, 0]] * (self.couplings // 2)))
        self.s, self.t = [
            nn.ModuleList([coupling(*last) for _ in range(self.couplings)])
            for last in ((nn.Tanh(), ), ())
        ]
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight, gain=0.01)

    def log_prob(self, points: Tensor) -> Tensor:
        r"""Return the log density (\*) of points (\*, 2)."""
        z = list(points.unbind(-1))
        log_scale = torch.zeros_like(z[0])
        for i in reversed(range(self.couplings)):
            kept, moved = (1, 0) if i % 2 == 0 else (0, 1)
            given = F.pad(z[kept].unsqueeze(-1), (kept, moved))
            scale = apply_layers(self.s[i], given)[..., moved]
            shift = apply_layers(self.t[i], given)[..., moved]
            z[moved] = (z[moved] - shift) * (-scale).exp()
            log_scale = log_scale + scale
        square = z[0].square() + z[1].square()
        return -0.5 * square - math.log(2 * math.pi) - log_scale


def coupling(*last: nn.Module) -> nn.Sequential:
    """Return a small network from the plane to the plane."""
    return nn.Sequential(
        nn.Linear(2, 64), nn.LeakyReLU(), nn.Linear(64, 64), nn.LeakyReLU(),
        nn.Linear(64, 2), *last)


def apply_layers(layers: Any, x: Tensor) -> Tensor:
    """Apply a network in the dtype of its input."""
    for layer in layers:
        if isinstance(layer, nn.Linear):
            x = F.linear(x, layer.weight.to(x.dtype), layer.bias.to(x.dtype))
        else:
            x = layer(x)
    return x


def less_far(error: Tensor, bound: float = 1e5) -> Tensor:
    """Beyond a bound, grow with the logarithm: the flow would overflow."""
    size = error.abs()
    far = bound * (1 + (size.clamp(min=bound) / bound).log())
    return torch.where(size > bound, error.sign() * far, error)


def rle_loss(pred: Tensor,
             sigma: Tensor,
             target: Tensor,
             log_prob: Callable[[Tensor], Tensor],
             residual: bool = True,
             q_distribution: str = 'laplace') -> Tensor:
    r"""Return the loss of each keypoint: (\*, 2) to (\*), see the class.

    ``log_prob`` maps errors (\*, 2) to log densities (\*).
    """
    log_sigma = F.logsigmoid(sigma)
    # Not divided by the sum, whose square in the gradient may overflow.
    least = log_sigma.new_full((), math.log(1e-9))
    bounded = torch.logaddexp(log_sigma, least)
    error = (pred - target) * (-bounded).exp()
    # As published, the density of the flow counts for each coordinate.
    loss = log_sigma - log_prob(less_far(error)).unsqueeze(-1)
    if residual and q_distribution == 'laplace':
        loss = loss + log_sigma + math.log(2) + error.abs()
    elif residual:
        loss = loss + log_sigma + 0.5 * (math.log(2 * math.pi) + error**2)
    return loss.sum(dim=-1)


@MODELS.register_module()
class RLELoss(PointLoss):
    r"""Residual log-likelihood: the error has a density that is learned.

    .. math::
        L = \frac{1}{N} \sum_{n, k} w_{nk} \Big( \sum_d \left( 2 \log
        \hat\sigma_{nkd} - \log Q(e_{nkd}) \right)
        - 2 \log G(e_{nk}) \Big), \qquad
        e = \frac{\hat\mu - t}{\hat\sigma}

    with the density Q of a standard Laplacian or Gaussian, the density G of a
    flow that is trained beside the model, and :math:`\hat\sigma`, the sigmoid
    of the head's ``sigma``. It sums over the keypoints of a sample; each
    element is one keypoint. Being a likelihood, it falls below 0 where the
    model is sure.

    Args:
        size_average (bool): If True, ``'mean'`` divides by the number N of
            samples; if False it is the sum. Default: True.
        residual (bool): If True, the flow learns what Q leaves over; if
            False, there is no Q, and :math:`\hat\sigma` counts once.
            Default: True.
        q_distribution (str): ``'laplace'`` or ``'gaussian'``.
            Default: ``'laplace'``.

    Shape:
        - pred, sigma, target: (N, K, 2).
        - weight: (N,), (N, K) or (N, K, 1); (N, K, 2) is averaged over the
          coordinates.
        - returns: 0-dim, or (N, K) for ``'none'``.

    Differs from upstream:
        - mmpose raises an error where a keypoint of weight 0 holds NaN: it
          passes through the flow. Here it is removed before.
        - mmpose returns infinity for a ``sigma`` below -104, whose sigmoid is
          0, and fails for an empty batch.
        - mmpose checks numbers on the host in each call, and its flow has no
          half precision.

        Both use the authors' code: it counts the density of the flow and
        :math:`\hat\sigma` twice, once for each coordinate, where the paper
        has them once; the paper's results are of that code.
    """
    info = LossInfo(
        purpose='keypoint regression with a learned density of the error',
        slots="``loss`` of mmpose's ``RLEHead``",
        expects='numbers',
        paper=Paper(
            'Jiefeng Li, Siyuan Bian, Ailing Zeng, Can Wang, Bo Pang, Wentao '
            'Liu, Cewu Lu',
            'Human Pose Regression With Residual Log-Likelihood Estimation',
            'ICCV', 2021, '2107.11291'))

    def __init__(self,
                 use_target_weight: bool | None = None,
                 size_average: bool = True,
                 residual: bool = True,
                 q_distribution: str = 'laplace',
                 **kwargs: Any) -> None:
        super().__init__(use_target_weight=use_target_weight, **kwargs)
        check_choice('q_distribution', q_distribution, ('laplace', 'gaussian'))
        self.size_average, self.residual = size_average, residual
        self.q_distribution = q_distribution
        self.flow_model = RealNVP()

    def forward(self, pred: Tensor, sigma: Tensor, target: Tensor, *args: Any,
                **kwargs: Any) -> Tensor:
        """Compute the loss from the positions, deviations and targets."""
        return super().forward((pred, sigma), target, *args, **kwargs)

    def prepare(self, *args: Any) -> Inputs:
        """Sum over the keypoints of a sample, see ``size_average``."""
        inputs = super().prepare(*args)
        inputs.denominator = max(inputs.shape[0],
                                 1) if self.size_average else 1
        return inputs

    def elementwise(self, pred: Tuple[Tensor, Tensor],
                    target: Tensor) -> Tensor:
        return rle_loss(*pred, target, self.flow_model.log_prob, self.residual,
                        self.q_distribution)

    def element_shape(self, pred: Tuple[Tensor, Tensor],
                      target: Tensor) -> Sequence[int]:
        position, sigma = pred
        if (not position.shape == sigma.shape == target.shape
                or position.ndim != 3 or position.shape[-1] != 2):
            raise ValueError(
                'pred, sigma and target must have one shape (N, K, 2), got '
                f'{tuple(position.shape)}, {tuple(sigma.shape)} and '
                f'{tuple(target.shape)}')
        return position.shape[:2]


class UncertainLoss(BaseLoss):
    r"""Base of the losses of a number and its log deviation.

    Args:
        alpha (float): Factor of :math:`\sigma` in the loss; the best
            :math:`\sigma` for an error l is :math:`\log (l / \alpha)`.
            The likelihood has 1. Default: 1.0.

    Shape:
        - pred, target, sigma: (\*), the same; sigma is a logarithm.
        - weight: as pred, or without trailing axes.
        - returns: 0-dim, or the shape of pred for ``'none'``.
    """
    masks_after_formula = True

    def __init__(self,
                 alpha: float = 1.0,
                 *args: Any,
                 **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(*args, **kwargs)
        check_number('alpha', alpha, least=0)
        self.alpha = alpha

    def forward(self, pred: Tensor, target: Tensor, sigma: Tensor, *args: Any,
                **kwargs: Any) -> Tensor:
        """Compute the loss; ``sigma`` precedes the usual arguments."""
        check_floating('target', target)
        return super().forward((pred, sigma), target, *args, **kwargs)

    def element_shape(self, pred: Tuple[Tensor, Tensor],
                      target: Tensor) -> Sequence[int]:
        position, sigma = pred
        if not position.shape == sigma.shape == target.shape:
            raise ValueError(
                'pred, target and sigma must have one shape, got '
                f'{tuple(position.shape)}, {tuple(target.shape)} and '
                f'{tuple(sigma.shape)}')
        return position.shape


@MODELS.register_module()
class UncertainL1Loss(UncertainLoss):
    r"""Absolute error, attenuated by a deviation that is predicted.

    .. math::
        L = \frac{1}{N} \sum_i w_i \left(|p_i - t_i| \, e^{-\sigma_i}
        + \alpha \sigma_i\right)

    with the predicted logarithm :math:`\sigma` of the deviation: but for a
    constant, the negative log likelihood of a Laplacian. A model that is not
    sure learns less from the error, and pays for it. The loss falls below 0
    where the model is sure.

    Differs from upstream:
        - mmdet3d's overflows for a ``sigma`` below -88, and is NaN there if
          the error is 0; in half precision below -11.
        - mmdet3d's multiplies weights of 0 into NaN, and fails on weights of
          fewer axes and on nothing.
    """
    info = LossInfo(
        purpose='any regression that also says how sure it is',
        slots="``loss_depth`` of mmdet3d's ``PGDHead``",
        expects='numbers',
        paper=UNCERTAINTIES)

    def elementwise(self, pred: Tuple[Tensor, Tensor],
                    target: Tensor) -> Tensor:
        position, sigma = pred
        return attenuated(position - target, sigma, self.alpha)


@MODELS.register_module()
class UncertainSmoothL1Loss(UncertainLoss):
    r"""Smooth L1, attenuated by a deviation that is predicted.

    .. math::
        L = \frac{1}{N} \sum_i w_i \left(l_i \, e^{-\sigma_i}
        + \alpha \sigma_i\right), \qquad l_i = \begin{cases}
            d_i^2 / (2 \beta) & d_i < \beta \\
            d_i - \beta / 2 & d_i \ge \beta
        \end{cases}, \qquad d_i = |p_i - t_i|

    with the predicted logarithm :math:`\sigma` of the deviation. A model that
    is not sure learns less from the error, and pays for it. The loss falls
    below 0 where the model is sure.

    Args:
        beta (float): Error at which the square becomes linear, in the units of
            the prediction. PGD's configs use 3 metres; 0 is
            :class:`UncertainL1Loss`. Default: 1.0.

    Differs from upstream:
        - mmdet3d rejects ``beta=0``.
        - All that is said of :class:`UncertainL1Loss`.
    """
    info = LossInfo(
        purpose='depths of objects, and how sure they are',
        slots="``loss_depth`` of mmdet3d's ``PGDHead``",
        expects='numbers',
        paper=Paper(
            'Tai Wang, Xinge Zhu, Jiangmiao Pang, Dahua Lin',
            'Probabilistic and Geometric Depth: Detecting Objects in '
            'Perspective', 'CoRL', 2021, '2107.14160'),
        source='The likelihood: Alex Kendall, Yarin Gal. What Uncertainties '
        'Do We Need in Bayesian Deep Learning for Computer Vision? NIPS 2017, '
        '`arXiv:1703.04977 <https://arxiv.org/abs/1703.04977>`_.')

    def __init__(self,
                 alpha: float = 1.0,
                 beta: float = 1.0,
                 *args: Any,
                 **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(alpha, *args, **kwargs)
        check_number('beta', beta, least=0)
        self.beta = beta

    def elementwise(self, pred: Tuple[Tensor, Tensor],
                    target: Tensor) -> Tensor:
        position, sigma = pred
        return attenuated(position - target, sigma, self.alpha, self.beta)


PROPEL = PROPELLoss
