"""Losses of boxes by their intersection over union."""
from __future__ import annotations
from typing import Sequence

import torch
from torch import Tensor

from mmlosses.registry import MODELS
from .box_geometry import (PENALTIES, BoxLoss, BoxPair, check_mode,
                           ciou_penalty, diou_penalty, eiou_penalty,
                           giou_penalty, mpdiou_penalty, shape_iou_penalty,
                           siou_penalty)
from .numeric import safe_power
from .terms import add_terms

IOU_MODES = ('log', 'linear', 'square')


@MODELS.register_module()
class IoULoss(BoxLoss):
    r"""Intersection over union, in one of three scales.

    .. math::
        L = -\ln IoU, \qquad L = 1 - IoU \qquad \text{or} \qquad L = 1 - IoU^2

    of ``mode`` ``'log'``, ``'linear'`` and ``'square'``. Boxes that do not
    overlap have the greatest loss and no gradient: use it where every positive
    overlaps its target, as in anchor-free heads, or one of the losses below.

    Args:
        mode (str): ``'log'``, ``'linear'`` or ``'square'``.
            Default: ``'log'``.
        linear (bool): mmdet's deprecated name of ``mode='linear'``.
            Default: False.
        eps (float): What the IoU, and the area it is divided by, are at
            least. Default: 1e-6.
        reduction (str): ``'mean'``, ``'sum'`` or ``'none'``.
            Default: ``'mean'``.
        loss_weight (float): Factor of the reduced loss. Default: 1.0.

    Shape:
        - pred, target: (N, 4), boxes (x1, y1, x2, y2), in any unit.
        - weight: (N,), or (N, 4), of which the mean counts.
        - returns: 0-dim, or (N,) for ``'none'``.

    Returns:
        Tensor: The loss, see :meth:`BaseLoss.forward`.

    Raises:
        ValueError: If shapes do not fit, or an argument is out of range.
        TypeError: If the prediction is not a floating-point tensor.

    Use:
        - For: boxes that overlap their targets.
        - Slots: The slots of :class:`GIoULoss`; YOLOX, YOLOX-Pose and RTMO.

    Source:
        Jiahui Yu, Yuning Jiang, Zhangyang Wang, Zhimin Cao, Thomas Huang.
        UnitBox: An Advanced Object Detection Network. ACM MM 2016,
        `arXiv:1608.01471 <https://arxiv.org/abs/1608.01471>`_.

    Differs from upstream:
        - mmdet's waits for the device to look for a positive weight.
        - mmdet's casts the IoU back to half precision before the logarithm.

    Example:
        In a config that inherits mmdet's FCOS, which decodes its boxes:

        >>> bbox_head = dict(
        ...     loss_bbox=dict(type='mmlosses.IoULoss'))

        >>> import torch
        >>> from mmengine.registry import MODELS
        >>> loss = MODELS.build(bbox_head['loss_bbox'])
        >>> pred = torch.tensor([[0., 0., 10., 10.]])
        >>> target = torch.tensor([[2., 0., 10., 8.]])
        >>> print('%.4f' % loss(pred, target))
        0.4463
    """

    def __init__(self,
                 mode: str = 'log',
                 linear: bool = False,
                 eps: float = 1e-6,
                 reduction: str = 'mean',
                 loss_weight: float = 1.0) -> None:
        super().__init__(eps, reduction, loss_weight)
        if mode not in IOU_MODES:
            raise ValueError("mode must be 'log', 'linear' or 'square', got "
                             f'{mode!r}')
        self.mode = 'linear' if linear else mode
        self.linear = linear

    def box_loss(self, pair: BoxPair) -> Tensor:
        """-ln IoU, or 1 - IoU or 1 - IoU^2."""
        iou = pair.iou.clamp(min=self.eps)
        if self.mode == 'log':
            return -iou.log()
        return 1 - (iou if self.mode == 'linear' else iou**2)


@MODELS.register_module()
class GIoULoss(BoxLoss):
    r"""Generalized IoU: also the empty share of the enclosing box.

    .. math::
        L = 1 - IoU + \frac{|C| - |A \cup B|}{|C|}

    with the smallest box C around both, so that boxes that do not overlap
    learn too. Greatest value: 2. Where one box contains the other it is the
    plain IoU.

    Args:
        eps (float): What areas, lengths and their squares are at
            least where they are divided by. Default: 1e-6.
        reduction (str): ``'mean'``, ``'sum'`` or ``'none'``.
            Default: ``'mean'``.
        loss_weight (float): Factor of the reduced loss. Default: 1.0.

    Shape:
        - pred, target: (N, 4), boxes (x1, y1, x2, y2), in any unit.
        - weight: (N,), or (N, 4), of which the mean counts.
        - returns: 0-dim, or (N,) for ``'none'``.

    Returns:
        Tensor: The loss, see :meth:`BaseLoss.forward`.

    Raises:
        ValueError: If shapes do not fit, or an argument is out of range.
        TypeError: If the prediction is not a floating-point tensor.

    Use:
        - For: boxes that may lie apart.
        - Slots: ``loss_bbox`` of FCOS, ATSS and RTMDet; ``loss_iou`` of DETR;
          anchor and RoI heads with ``reg_decoded_bbox=True``.

    Source:
        Hamid Rezatofighi, Nathan Tsoi, JunYoung Gwak, Amir Sadeghian, Ian
        Reid, Silvio Savarese. Generalized Intersection over Union: A Metric
        and A Loss for Bounding Box Regression. CVPR 2019, `arXiv:1902.09630
        <https://arxiv.org/abs/1902.09630>`_.

    Differs from upstream:
        - mmdet's waits for the device to look for a positive weight.
        - mmdet's is negative infinity where both boxes are in half precision
          and 600 pixels long.

    Example:
        In a config that inherits mmdet's RetinaNet, whose anchors must be
        decoded for it:

        >>> bbox_head = dict(
        ...     reg_decoded_bbox=True,
        ...     loss_bbox=dict(type='mmlosses.GIoULoss'))

        >>> import torch
        >>> from mmengine.registry import MODELS
        >>> loss = MODELS.build(bbox_head['loss_bbox'])
        >>> pred = torch.tensor([[0., 0., 10., 10.]])
        >>> target = torch.tensor([[2., 0., 10., 8.]])
        >>> print('%.4f' % loss(pred, target))
        0.3600
    """

    def __init__(self,
                 eps: float = 1e-6,
                 reduction: str = 'mean',
                 loss_weight: float = 1.0) -> None:
        super().__init__(eps, reduction, loss_weight)

    def box_loss(self, pair: BoxPair) -> Tensor:
        """1 - GIoU."""
        return add_terms(1 - pair.iou, giou_penalty(pair))


@MODELS.register_module()
class DIoULoss(BoxLoss):
    r"""Distance IoU: also the distance of the centres.

    .. math::
        L = 1 - IoU + \frac{\rho^2(b, b^{gt})}{c^2}

    with the centres b and the diagonal c of the smallest box around both.

    Args:
        eps (float): What areas, lengths and their squares are at
            least where they are divided by. Default: 1e-6.
        reduction (str): ``'mean'``, ``'sum'`` or ``'none'``.
            Default: ``'mean'``.
        loss_weight (float): Factor of the reduced loss. Default: 1.0.

    Shape:
        - pred, target: (N, 4), boxes (x1, y1, x2, y2), in any unit.
        - weight: (N,), or (N, 4), of which the mean counts.
        - returns: 0-dim, or (N,) for ``'none'``.

    Returns:
        Tensor: The loss, see :meth:`BaseLoss.forward`.

    Raises:
        ValueError: If shapes do not fit, or an argument is out of range.
        TypeError: If the prediction is not a floating-point tensor.

    Use:
        - For: boxes: overlap and centre.
        - Slots: The slots of :class:`GIoULoss`.

    Source:
        Zhaohui Zheng, Ping Wang, Wei Liu, Jinze Li, Rongguang Ye, Dongwei Ren.
        Distance-IoU Loss: Faster and Better Learning for Bounding Box
        Regression. AAAI 2020, `arXiv:1911.08287
        <https://arxiv.org/abs/1911.08287>`_, equation 7.

    Differs from upstream:
        - mmdet's waits for the device to look for a positive weight.
        - mmdet's overflows in half precision: the area of a box of 600
          pixels is infinite.

    Example:
        In a config that inherits mmdet's RetinaNet, whose anchors must be
        decoded for it:

        >>> bbox_head = dict(
        ...     reg_decoded_bbox=True,
        ...     loss_bbox=dict(type='mmlosses.DIoULoss'))

        >>> import torch
        >>> from mmengine.registry import MODELS
        >>> loss = MODELS.build(bbox_head['loss_bbox'])
        >>> pred = torch.tensor([[0., 0., 10., 10.]])
        >>> target = torch.tensor([[2., 0., 10., 8.]])
        >>> print('%.4f' % loss(pred, target))
        0.3700
    """

    def __init__(self,
                 eps: float = 1e-6,
                 reduction: str = 'mean',
                 loss_weight: float = 1.0) -> None:
        super().__init__(eps, reduction, loss_weight)

    def box_loss(self, pair: BoxPair) -> Tensor:
        """1 - DIoU."""
        return add_terms(1 - pair.iou, diou_penalty(pair))


@MODELS.register_module()
class CIoULoss(BoxLoss):
    r"""Complete IoU: also the centres and the aspect ratio.

    .. math::
        L = 1 - IoU + \frac{\rho^2(b, b^{gt})}{c^2} + \alpha v

    with :math:`\alpha v` of :func:`ciou_penalty`. Only boxes that overlap by
    more than half learn the aspect ratio, and :math:`\alpha` is a constant for
    the gradient: at IoU 0.5 the value jumps by at most 0.17.

    Args:
        eps (float): What areas, lengths and their squares are at
            least where they are divided by. Default: 1e-6.
        reduction (str): ``'mean'``, ``'sum'`` or ``'none'``.
            Default: ``'mean'``.
        loss_weight (float): Factor of the reduced loss. Default: 1.0.

    Shape:
        - pred, target: (N, 4), boxes (x1, y1, x2, y2), in any unit.
        - weight: (N,), or (N, 4), of which the mean counts.
        - returns: 0-dim, or (N,) for ``'none'``.

    Returns:
        Tensor: The loss, see :meth:`BaseLoss.forward`.

    Raises:
        ValueError: If shapes do not fit, or an argument is out of range.
        TypeError: If the prediction is not a floating-point tensor.

    Use:
        - For: boxes: overlap, centre and aspect ratio.
        - Slots: The slots of :class:`GIoULoss`.

    Source:
        Zhaohui Zheng, Ping Wang, Dongwei Ren, Wei Liu, Rongguang Ye, Qinghua
        Hu, Wangmeng Zuo. Enhancing Geometric Factors in Model Learning and
        Inference for Object Detection and Instance Segmentation. IEEE
        Transactions on Cybernetics 2021, `arXiv:2005.03572
        <https://arxiv.org/abs/2005.03572>`_.

    Differs from upstream:
        - mmdet's waits for the device to look for a positive weight.
        - mmdet's value and gradient are NaN where the prediction is the
          target.
        - mmdet's overflows in half precision: the area of a box of 600
          pixels is infinite.
        - torchvision's has no threshold: it learns the aspect ratio of all.

    Example:
        In a config that inherits mmdet's RetinaNet, whose anchors must be
        decoded for it:

        >>> bbox_head = dict(
        ...     reg_decoded_bbox=True,
        ...     loss_bbox=dict(type='mmlosses.CIoULoss'))

        >>> import torch
        >>> from mmengine.registry import MODELS
        >>> loss = MODELS.build(bbox_head['loss_bbox'])
        >>> pred = torch.tensor([[0., 0., 10., 10.]])
        >>> target = torch.tensor([[2., 0., 10., 8.]])
        >>> print('%.4f' % loss(pred, target))
        0.3700
    """

    def __init__(self,
                 eps: float = 1e-6,
                 reduction: str = 'mean',
                 loss_weight: float = 1.0) -> None:
        super().__init__(eps, reduction, loss_weight)

    def box_loss(self, pair: BoxPair) -> Tensor:
        """1 - CIoU."""
        return add_terms(1 - pair.iou, ciou_penalty(pair))


@MODELS.register_module()
class EIoULoss(BoxLoss):
    r"""Efficient IoU: also the centres, the widths and the heights.

    .. math::
        L = 1 - IoU + \frac{\rho^2(b, b^{gt})}{(w^c)^2 + (h^c)^2}
        + \frac{(w - w^{gt})^2}{(w^c)^2} + \frac{(h - h^{gt})^2}{(h^c)^2}

    with the sides :math:`w^c` and :math:`h^c` of the smallest box around both.
    Focal-EIoU multiplies it by :math:`IoU^\gamma`, as a constant for the
    gradient: poor boxes count less, and boxes apart learn nothing.

    Args:
        focal_gamma (float, optional): Exponent :math:`\gamma` of Focal-EIoU;
            the paper has 0.5. ``None`` is EIoU. Default: None.
        eps (float): What areas, lengths and their squares are at
            least where they are divided by. Default: 1e-6.
        reduction (str): ``'mean'``, ``'sum'`` or ``'none'``.
            Default: ``'mean'``.
        loss_weight (float): Factor of the reduced loss. Default: 1.0.

    Shape:
        - pred, target: (N, 4), boxes (x1, y1, x2, y2), in any unit.
        - weight: (N,), or (N, 4), of which the mean counts.
        - returns: 0-dim, or (N,) for ``'none'``.

    Returns:
        Tensor: The loss, see :meth:`BaseLoss.forward`.

    Raises:
        ValueError: If shapes do not fit, or an argument is out of range.
        TypeError: If the prediction is not a floating-point tensor.

    Use:
        - For: boxes, also far away: overlap, centre and both sides;
          Focal-EIoU.
        - Slots: The slots of :class:`GIoULoss`.

    Source:
        Yi-Fan Zhang, Weiqiang Ren, Zhang Zhang, Zhen Jia, Liang Wang, Tieniu
        Tan. Focal and Efficient IOU Loss for Accurate Bounding Box
        Regression. Neurocomputing 2022, `arXiv:2101.08158
        <https://arxiv.org/abs/2101.08158>`_.

    Differs from upstream:
        - mmdet's ``EIoULoss`` is another paper's: Extended IoU, Hanyang Peng
          and Shiqi Yu, IEEE Transactions on Image Processing 2021. So its
          ``smooth_point`` is no argument here.

    Example:
        In a config that inherits mmdet's RetinaNet, whose anchors must be
        decoded for it:

        >>> bbox_head = dict(
        ...     reg_decoded_bbox=True,
        ...     loss_bbox=dict(type='mmlosses.EIoULoss'))

        >>> import torch
        >>> from mmengine.registry import MODELS
        >>> loss = MODELS.build(bbox_head['loss_bbox'])
        >>> pred = torch.tensor([[0., 0., 10., 10.]])
        >>> target = torch.tensor([[2., 0., 10., 8.]])
        >>> print('%.4f' % loss(pred, target))
        0.4500
    """

    def __init__(self,
                 focal_gamma: float | None = None,
                 eps: float = 1e-6,
                 reduction: str = 'mean',
                 loss_weight: float = 1.0) -> None:
        super().__init__(eps, reduction, loss_weight)
        if focal_gamma is not None and not focal_gamma > 0:
            raise ValueError('focal_gamma must be positive, or None for no '
                             f'focal weight, got {focal_gamma}')
        self.focal_gamma = focal_gamma

    def box_loss(self, pair: BoxPair) -> Tensor:
        """1 - EIoU, weighed by the IoU if it is focal."""
        loss = add_terms(1 - pair.iou, eiou_penalty(pair))
        if self.focal_gamma is None:
            return loss
        # With a gradient, the weight would push boxes apart.
        return pair.iou.detach()**self.focal_gamma * loss


@MODELS.register_module()
class SIoULoss(BoxLoss):
    r"""SCYLLA IoU: also the centres, with their angle, and the sides.

    .. math::
        L = 1 - IoU + \frac{\Delta + \Omega}{2}

    with the distance cost :math:`\Delta`, which knows the angle between the
    centres, and the shape cost :math:`\Omega` of :func:`siou_penalty`.

    Args:
        theta (float): Exponent of the shape cost, in the paper from 2 to 6.
            Default: 4.0.
        neg_gamma (bool): mmdet's name of the paper's sign; only True.
            Default: True.
        eps (float): What areas, lengths and their squares are at
            least where they are divided by. Default: 1e-6.
        reduction (str): ``'mean'``, ``'sum'`` or ``'none'``.
            Default: ``'mean'``.
        loss_weight (float): Factor of the reduced loss. Default: 1.0.

    Shape:
        - pred, target: (N, 4), boxes (x1, y1, x2, y2), in any unit.
        - weight: (N,), or (N, 4), of which the mean counts.
        - returns: 0-dim, or (N,) for ``'none'``.

    Returns:
        Tensor: The loss, see :meth:`BaseLoss.forward`.

    Raises:
        ValueError: If shapes do not fit, or an argument is out of range.
        TypeError: If the prediction is not a floating-point tensor.

    Use:
        - For: boxes: overlap, centre with its angle, and sides.
        - Slots: The slots of :class:`GIoULoss`.

    Source:
        Zhora Gevorgyan. SIoU Loss: More Powerful Learning for Bounding Box
        Regression. 2022, `arXiv:2205.12740
        <https://arxiv.org/abs/2205.12740>`_.

    Differs from upstream:
        - The distance cost of mmdet has the wrong sign, unless
          ``neg_gamma=True``: it falls as the boxes move apart, and training
          pushes them.
        - The sine of twice the angle comes without the paper's arcsine,
          whose gradient is infinite at 90 degrees.
        - mmdet's overflows in half precision: the area of a box of 600
          pixels is infinite.

    Example:
        In a config that inherits mmdet's RetinaNet, whose anchors must be
        decoded for it:

        >>> bbox_head = dict(
        ...     reg_decoded_bbox=True,
        ...     loss_bbox=dict(type='mmlosses.SIoULoss'))

        >>> import torch
        >>> from mmengine.registry import MODELS
        >>> loss = MODELS.build(bbox_head['loss_bbox'])
        >>> pred = torch.tensor([[0., 0., 10., 10.]])
        >>> target = torch.tensor([[2., 0., 10., 8.]])
        >>> print('%.4f' % loss(pred, target))
        0.3710
    """

    def __init__(self,
                 theta: float = 4.0,
                 neg_gamma: bool = True,
                 eps: float = 1e-6,
                 reduction: str = 'mean',
                 loss_weight: float = 1.0) -> None:
        super().__init__(eps, reduction, loss_weight)
        if not theta >= 1:
            raise ValueError(f'theta must be at least 1, got {theta}')
        if not neg_gamma:
            raise ValueError('neg_gamma=False, the default of mmdet, pushes '
                             'boxes apart: leave it out')
        self.theta = theta
        self.neg_gamma = neg_gamma

    def box_loss(self, pair: BoxPair) -> Tensor:
        """1 - SIoU."""
        return add_terms(1 - pair.iou, siou_penalty(pair, self.theta))


@MODELS.register_module()
class AlphaIoULoss(BoxLoss):
    r"""A power of the IoU and of each penalty beside it.

    .. math::
        L = 1 - IoU^\alpha + \sum_i P_i^\alpha

    with the penalties :math:`P_i` of a ``mode``, for instance
    :math:`\rho^2 / c^2` of ``'diou'``. An :math:`\alpha` above 1 gives boxes
    more weight the better they are.

    Args:
        alpha (float): Power :math:`\alpha`. The paper has 3. Default: 3.0.
        mode (str): ``'iou'``, ``'giou'``, ``'diou'`` or ``'ciou'``, as in the
            paper; also ``'eiou'``, ``'siou'``, ``'mpdiou'`` or
            ``'shapeiou'``. Default: ``'iou'``.
        eps (float): What areas, lengths and their squares are at
            least where they are divided by. Default: 1e-6.
        reduction (str): ``'mean'``, ``'sum'`` or ``'none'``.
            Default: ``'mean'``.
        loss_weight (float): Factor of the reduced loss. Default: 1.0.

    Shape:
        - pred, target: (N, 4), boxes (x1, y1, x2, y2), in any unit.
        - weight: (N,), or (N, 4), of which the mean counts.
        - returns: 0-dim, or (N,) for ``'none'``.

    Returns:
        Tensor: The loss, see :meth:`BaseLoss.forward`.

    Raises:
        ValueError: If shapes do not fit, or an argument is out of range.
        TypeError: If the prediction is not a floating-point tensor.

    Use:
        - For: boxes, with more weight the better they are.
        - Slots: The slots of :class:`GIoULoss`.

    Source:
        Jiabo He, Sarah Erfani, Xingjun Ma, James Bailey, Ying Chi, Xian-Sheng
        Hua. Alpha-IoU: A Family of Power Intersection over Union Losses for
        Bounding Box Regression. NeurIPS 2021, `arXiv:2110.13675
        <https://arxiv.org/abs/2110.13675>`_.

    Differs from upstream:
        - Neither mmdet nor mmpose has it.

    Example:
        In a config that inherits mmdet's RetinaNet, whose anchors must be
        decoded for it:

        >>> bbox_head = dict(
        ...     reg_decoded_bbox=True,
        ...     loss_bbox=dict(type='mmlosses.AlphaIoULoss', mode='diou'))

        >>> import torch
        >>> from mmengine.registry import MODELS
        >>> loss = MODELS.build(bbox_head['loss_bbox'])
        >>> pred = torch.tensor([[0., 0., 10., 10.]])
        >>> target = torch.tensor([[2., 0., 10., 8.]])
        >>> print('%.4f' % loss(pred, target))
        0.7379
    """

    def __init__(self,
                 alpha: float = 3.0,
                 mode: str = 'iou',
                 eps: float = 1e-6,
                 reduction: str = 'mean',
                 loss_weight: float = 1.0) -> None:
        super().__init__(eps, reduction, loss_weight)
        if not alpha > 0:
            raise ValueError(f'alpha must be positive, got {alpha}')
        check_mode(mode)
        self.alpha = alpha
        self.mode = mode

    def box_loss(self, pair: BoxPair) -> Tensor:
        """1 - alpha-IoU."""
        terms = PENALTIES[self.mode](pair)
        # From 2 on, both derivatives of the power are finite at an IoU of 0.
        power = torch.pow if self.alpha >= 2 else safe_power
        return add_terms(1 - power(pair.iou, self.alpha),
                         [safe_power(term, self.alpha) for term in terms])


@MODELS.register_module()
class MPDIoULoss(BoxLoss):
    r"""Minimum point distance IoU: also the distance of two corners.

    .. math::
        L = 1 - IoU + \frac{d_1^2}{w^2 + h^2} + \frac{d_2^2}{w^2 + h^2}

    with the distances :math:`d_1` of the top left and :math:`d_2` of the
    bottom right corners, and the sides of the picture, as in the paper, or of
    the smallest box around both.

    Args:
        img_shape (tuple[float], optional): Height and width of the picture,
            in the unit of the boxes. ``None`` takes those of the smallest box
            around both, so that the loss does not depend on the scale.
            Default: None.
        eps (float): What areas, lengths and their squares are at
            least where they are divided by. Default: 1e-6.
        reduction (str): ``'mean'``, ``'sum'`` or ``'none'``.
            Default: ``'mean'``.
        loss_weight (float): Factor of the reduced loss. Default: 1.0.

    Shape:
        - pred, target: (N, 4), boxes (x1, y1, x2, y2), in any unit.
        - weight: (N,), or (N, 4), of which the mean counts.
        - returns: 0-dim, or (N,) for ``'none'``.

    Returns:
        Tensor: The loss, see :meth:`BaseLoss.forward`.

    Raises:
        ValueError: If shapes do not fit, or an argument is out of range.
        TypeError: If the prediction is not a floating-point tensor.

    Use:
        - For: boxes, also far away: overlap and two corners.
        - Slots: The slots of :class:`GIoULoss`.

    Source:
        Siliang Ma, Yong Xu. MPDIoU: A Loss for Efficient and Accurate
        Bounding Box Regression. 2023, `arXiv:2307.07662
        <https://arxiv.org/abs/2307.07662>`_.

    Differs from upstream:
        - Neither mmdet nor mmpose has it.

    Example:
        In a config that inherits mmdet's RetinaNet, whose anchors must be
        decoded for it:

        >>> bbox_head = dict(
        ...     reg_decoded_bbox=True,
        ...     loss_bbox=dict(type='mmlosses.MPDIoULoss'))

        >>> import torch
        >>> from mmengine.registry import MODELS
        >>> loss = MODELS.build(bbox_head['loss_bbox'])
        >>> pred = torch.tensor([[0., 0., 10., 10.]])
        >>> target = torch.tensor([[2., 0., 10., 8.]])
        >>> print('%.4f' % loss(pred, target))
        0.4000
    """

    def __init__(self,
                 img_shape: Sequence[float] | None = None,
                 eps: float = 1e-6,
                 reduction: str = 'mean',
                 loss_weight: float = 1.0) -> None:
        super().__init__(eps, reduction, loss_weight)
        if img_shape is not None and (len(img_shape) != 2
                                      or not min(img_shape) > 0):
            raise ValueError('img_shape must be a height and a width, got '
                             f'{img_shape!r}')
        self.img_shape = img_shape

    def box_loss(self, pair: BoxPair) -> Tensor:
        """1 - MPDIoU."""
        return add_terms(1 - pair.iou, mpdiou_penalty(pair, self.img_shape))


@MODELS.register_module()
class InnerIoULoss(BoxLoss):
    r"""The IoU of boxes that are scaled about their centres.

    .. math::
        L = 1 - IoU_{inner} + \sum_i P_i

    with the penalties :math:`P_i` of a ``mode``, which are those of the boxes
    as they are. It is the loss of that mode plus :math:`IoU - IoU_{inner}`.

    Args:
        ratio (float): Factor of the sides, in the paper from 0.5 to 1.5: below
            1 good boxes learn faster, above 1 poor ones do. Default: 0.7.
        mode (str): ``'iou'``, ``'giou'``, ``'diou'``, ``'ciou'``, ``'eiou'``
            or ``'siou'``, as in the paper; also ``'mpdiou'`` or
            ``'shapeiou'``. Default: ``'iou'``.
        eps (float): What areas, lengths and their squares are at
            least where they are divided by. Default: 1e-6.
        reduction (str): ``'mean'``, ``'sum'`` or ``'none'``.
            Default: ``'mean'``.
        loss_weight (float): Factor of the reduced loss. Default: 1.0.

    Shape:
        - pred, target: (N, 4), boxes (x1, y1, x2, y2), in any unit.
        - weight: (N,), or (N, 4), of which the mean counts.
        - returns: 0-dim, or (N,) for ``'none'``.

    Returns:
        Tensor: The loss, see :meth:`BaseLoss.forward`.

    Raises:
        ValueError: If shapes do not fit, or an argument is out of range.
        TypeError: If the prediction is not a floating-point tensor.

    Use:
        - For: boxes, by any mode, with the IoU of scaled boxes.
        - Slots: The slots of :class:`GIoULoss`.

    Source:
        Hao Zhang, Cong Xu, Shuaijie Zhang. Inner-IoU: More Effective
        Intersection over Union Loss with Auxiliary Bounding Box. 2023,
        `arXiv:2311.02877 <https://arxiv.org/abs/2311.02877>`_.

    Differs from upstream:
        - Neither mmdet nor mmpose has it.

    Example:
        In a config that inherits mmdet's RetinaNet, whose anchors must be
        decoded for it:

        >>> bbox_head = dict(
        ...     reg_decoded_bbox=True,
        ...     loss_bbox=dict(
        ...         type='mmlosses.InnerIoULoss', ratio=0.7, mode='ciou'))

        >>> import torch
        >>> from mmengine.registry import MODELS
        >>> loss = MODELS.build(bbox_head['loss_bbox'])
        >>> pred = torch.tensor([[0., 0., 10., 10.]])
        >>> target = torch.tensor([[2., 0., 10., 8.]])
        >>> print('%.4f' % loss(pred, target))
        0.4726
    """

    def __init__(self,
                 ratio: float = 0.7,
                 mode: str = 'iou',
                 eps: float = 1e-6,
                 reduction: str = 'mean',
                 loss_weight: float = 1.0) -> None:
        super().__init__(eps, reduction, loss_weight)
        if not ratio > 0:
            raise ValueError(f'ratio must be positive, got {ratio}')
        check_mode(mode)
        self.ratio = ratio
        self.mode = mode

    def box_loss(self, pair: BoxPair) -> Tensor:
        """1 - Inner-IoU."""
        terms = PENALTIES[self.mode](pair)
        return add_terms(1 - pair.scaled(self.ratio).iou, terms)


@MODELS.register_module()
class ShapeIoULoss(BoxLoss):
    r"""Shape IoU: also the centres and sides, by the shape of the target.

    .. math::
        L = 1 - IoU + distance^{shape} + \frac{\Omega^{shape}}{2}

    with the costs of :func:`shape_iou_penalty`: an error across the longer
    side of the target counts more.

    Args:
        scale (float): How much more, which the paper ties to the size of the
            objects of a dataset. 0 weighs both sides alike. Default: 0.0.
        eps (float): What areas, lengths and their squares are at
            least where they are divided by. Default: 1e-6.
        reduction (str): ``'mean'``, ``'sum'`` or ``'none'``.
            Default: ``'mean'``.
        loss_weight (float): Factor of the reduced loss. Default: 1.0.

    Shape:
        - pred, target: (N, 4), boxes (x1, y1, x2, y2), in any unit.
        - weight: (N,), or (N, 4), of which the mean counts.
        - returns: 0-dim, or (N,) for ``'none'``.

    Returns:
        Tensor: The loss, see :meth:`BaseLoss.forward`.

    Raises:
        ValueError: If shapes do not fit, or an argument is out of range.
        TypeError: If the prediction is not a floating-point tensor.

    Use:
        - For: long, thin boxes: overlap, centre and sides, by the target's
          shape.
        - Slots: The slots of :class:`GIoULoss`.

    Source:
        Hao Zhang, Shuaijie Zhang. Shape-IoU: More Accurate Metric considering
        Bounding Box Shape and Scale. 2023, `arXiv:2312.17663
        <https://arxiv.org/abs/2312.17663>`_.

    Differs from upstream:
        - Neither mmdet nor mmpose has it.

    Example:
        In a config that inherits mmdet's RetinaNet, whose anchors must be
        decoded for it:

        >>> bbox_head = dict(
        ...     reg_decoded_bbox=True,
        ...     loss_bbox=dict(type='mmlosses.ShapeIoULoss', scale=1.0))

        >>> import torch
        >>> from mmengine.registry import MODELS
        >>> loss = MODELS.build(bbox_head['loss_bbox'])
        >>> pred = torch.tensor([[0., 0., 10., 10.]])
        >>> target = torch.tensor([[2., 0., 10., 8.]])
        >>> print('%.4f' % loss(pred, target))
        0.3711
    """

    def __init__(self,
                 scale: float = 0.0,
                 eps: float = 1e-6,
                 reduction: str = 'mean',
                 loss_weight: float = 1.0) -> None:
        super().__init__(eps, reduction, loss_weight)
        self.scale = scale

    def box_loss(self, pair: BoxPair) -> Tensor:
        """1 - Shape-IoU."""
        return add_terms(1 - pair.iou, shape_iou_penalty(pair, self.scale))


@MODELS.register_module()
class NWDLoss(BoxLoss):
    r"""Normalized Gaussian Wasserstein distance, for tiny objects.

    .. math::
        L = 1 - e^{-W / C}, \qquad
        W^2 = \|b - b^{gt}\|^2 + \frac{(w - w^{gt})^2}{4}
        + \frac{(h - h^{gt})^2}{4}

    with the centres b. It is not a function of the IoU: where a box of a few
    pixels misses its target by one, the loss is still small. It depends on
    the unit of the boxes.

    Args:
        constant (float): C, in the unit of the boxes. The paper takes the
            mean size of the objects of its dataset, AI-TOD: 12.8 pixels.
            Default: 12.8.
        eps (float): Distance, in pixels, below which the gradient falls to 0.
            Default: 1e-6.
        reduction (str): ``'mean'``, ``'sum'`` or ``'none'``.
            Default: ``'mean'``.
        loss_weight (float): Factor of the reduced loss. Default: 1.0.

    Shape:
        - pred, target: (N, 4), boxes (x1, y1, x2, y2), in pixels.
        - weight: (N,), or (N, 4), of which the mean counts.
        - returns: 0-dim, or (N,) for ``'none'``.

    Returns:
        Tensor: The loss, see :meth:`BaseLoss.forward`.

    Raises:
        ValueError: If shapes do not fit, or an argument is out of range.
        TypeError: If the prediction is not a floating-point tensor.

    Use:
        - For: boxes of a few pixels: tiny, small objects.
        - Slots: The slots of :class:`GIoULoss`.

    Source:
        Jinwang Wang, Chang Xu, Wen Yang, Lei Yu. A Normalized Gaussian
        Wasserstein Distance for Tiny Object Detection. 2021,
        `arXiv:2110.13389 <https://arxiv.org/abs/2110.13389>`_.

    Differs from upstream:
        - Neither mmdet nor mmpose has it.

    Example:
        In a config that inherits mmdet's RetinaNet, whose anchors must be
        decoded for it:

        >>> bbox_head = dict(
        ...     reg_decoded_bbox=True,
        ...     loss_bbox=dict(type='mmlosses.NWDLoss'))

        >>> import torch
        >>> from mmengine.registry import MODELS
        >>> loss = MODELS.build(bbox_head['loss_bbox'])
        >>> pred = torch.tensor([[0., 0., 10., 10.]])
        >>> target = torch.tensor([[2., 0., 10., 8.]])
        >>> print('%.4f' % loss(pred, target))
        0.1447
    """

    def __init__(self,
                 constant: float = 12.8,
                 eps: float = 1e-6,
                 reduction: str = 'mean',
                 loss_weight: float = 1.0) -> None:
        super().__init__(eps, reduction, loss_weight)
        if not constant > 0:
            raise ValueError(f'constant must be positive, got {constant}')
        self.constant = constant

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        """1 - NWD."""
        # Centres and half sides are half sums and half differences of the
        # corners, so W^2 is half of the sum of the squared errors of those.
        error = pred - target.to(pred.dtype)
        square = (error**2).sum(dim=-1) / 2
        # Smooth at 0, where the gradient of a square root is infinite.
        distance = (square + self.eps**2).sqrt() - self.eps
        return 1 - torch.exp(-distance / self.constant)
