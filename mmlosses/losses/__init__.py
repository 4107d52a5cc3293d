"""Every loss of mmlosses: importing this package registers them all.

A family is a module or a folder here; pages, cases and tests have its name.
"""
from mmlosses.core.base import BaseLoss
from mmlosses.core.boxes import BoxLoss, BoxPair, box_pair
from mmlosses.core.classification import ClassificationLoss
from mmlosses.core.info import LossInfo, Paper
from mmlosses.core.keypoints import HeatmapLoss, KeypointLoss
from .angular import (AngleDistanceLoss, AngularLoss, angle_distance_loss,
                      angular_loss)
from .boxes.bounded import BoundedIoULoss
from .boxes.distance import CIoULoss, DIoULoss, MPDIoULoss
from .boxes.modes import AlphaIoULoss, InnerIoULoss
from .boxes.nwd import NWDLoss
from .boxes.overlap import ExtendedIoULoss, GIoULoss, IoULoss
from .boxes.shape import EIoULoss, ShapeIoULoss, SIoULoss
from .boxes.wise_iou import WIoULoss, wise_iou_loss
from .boxes_3d.chamfer import ChamferDistance, chamfer_distance
from .boxes_3d.multibin import MultiBinLoss, multibin_loss
from .boxes_3d.overlap import (AxisAlignedIoULoss, RotatedIoU3DLoss,
                               axis_aligned_iou, rotated_iou_3d)
from .boxes_3d.weight_bank import PAConvRegularizationLoss, kernel_correlation
from .center import CenterLoss, CenterSoftmaxLoss, center_loss, centerloss
from .composite import CombinedLoss, MultipleLossWrapper, SumLoss
from .corners.associative_embedding import (AssociativeEmbeddingLoss,
                                            associative_embedding_loss)
from .corners.cornernet import (AELoss, CornerNetLoss, corner_heatmap_loss,
                                corner_offset_loss, neg_loss)
from .cosine import CCSLoss, ccs_loss
from .cross_entropy import (BCELoss, CrossEntropyCustomLoss, CrossEntropyLoss,
                            LabelSmoothLoss, MultiPosCrossEntropyLoss,
                            multi_positive_cross_entropy, smooth_labels,
                            soft_cross_entropy)
from .distillation import (ChannelWiseDivergence, FeaLoss, KDLoss, KLDivLoss,
                           KnowledgeDistillationKLDivLoss,
                           distillation_kl_loss)
from .embedding import (InfoNCELoss, MarginL2Loss, TripletLoss, info_nce_loss,
                        triplet_loss)
from .focal import (AsymmetricLoss, FocalCustomLoss, FocalLoss,
                    SmoothFocalLoss, asymmetric_loss, sigmoid_focal_loss,
                    softmax_focal_loss)
from .gradient_harmonizing import (GHMC, GHMR, authentic_smooth_l1,
                                   harmonizing_weight)
from .hard_negative import (BalanceCrossEntropyLoss, BalancedBCELoss,
                            binary_cross_entropy)
from .heatmap.adaptive_wing import AdaptiveWingLoss, adaptive_wing_loss
from .heatmap.focal import (FocalHeatmapLoss, GaussianFocalLoss,
                            gaussian_focal_loss)
from .heatmap.mse import (CombinedTargetMSELoss, KeypointMSELoss,
                          KeypointOHKMMSELoss, combined_target_mse_loss,
                          hard_keypoint_mse_loss)
from .keypoint_similarity import OksLoss, OKSLoss, oks_loss
from .long_tail import (EQLV2Loss, SeesawLoss, equalized_weights,
                        seesaw_cross_entropy)
from .margin import (ArcFaceLogitLoss, ArcFaceLoss, ArcMarginProduct, Modified,
                     ModifiedSoftmaxLoss, NormFace, NormFaceLoss,
                     angular_margin, arcface_logits, cosine_logits)
from .mask import DiceLoss, dice_loss
from .pose_3d import (BoneLoss, MPJPELoss, MPJPEVelocityJointLoss,
                      SemiSupervisionLoss, mpjpe_loss)
from .probabilistic import (PROPEL, KeypointPROPELLoss, PROPELLoss, RealNVP,
                            RLELoss, UncertainL1Loss, UncertainSmoothL1Loss,
                            g_function, getloss, h_function, propel_loss,
                            rle_loss, unpack_prediction)
from .quality_focal import (DistributionFocalLoss, QualityFocalLoss,
                            VariFocalLoss, VarifocalLoss,
                            distribution_focal_loss, quality_focal_loss,
                            varifocal_loss)
from .regression import (BalancedL1Loss, L1Loss, L2Loss, MSELoss, SiLogLoss,
                         SmoothL1Loss, SoftWeightSmoothL1Loss, SoftWingLoss,
                         WingLoss, l1_loss, mse_loss, silog_loss,
                         smooth_l1_loss, soft_wing_loss, wing_loss)
from .rotated.consistency import H2RBoxConsistencyLoss
from .rotated.gaussian import (GDLoss, GDLoss_v1, KFLoss, ProbIoULoss,
                               gaussian_distance_loss,
                               gaussian_distance_loss_v1, kf_iou, kf_loss,
                               prob_iou_loss)
from .rotated.overlap import (RotatedCIoULoss, RotatedDIoULoss,
                              RotatedGIoULoss, RotatedIoULoss, rotated_iou)
from .rotated.points import (BCConvexGIoULoss, ConvexGIoULoss,
                             SpatialBorderLoss, bc_convex_giou_loss,
                             convex_giou_loss, spatial_border_loss)
from .segmentation.boundary import (BoundaryLoss, HausdorffDistanceLoss,
                                    HuasdorffDisstanceLoss)
from .segmentation.lovasz import LovaszLoss
from .segmentation.ohem import OhemCrossEntropy
from .segmentation.region import (ClDiceLoss, TverskyLoss, cl_dice_loss,
                                  soft_skeleton, tversky_loss)
from .self_supervised import (CAELoss, CosineSimilarityLoss,
                              CrossCorrelationLoss, PixelReconstructionLoss,
                              SwAVLoss, cosine_similarity_loss,
                              sinkhorn_assignments)
from .simcc import (JSDiscretLoss, KLDiscretLoss, MLECCLoss, js_discret_loss,
                    kl_discret_loss, mle_cc_loss)

#: The families, in the order of the pages, with their titles.
FAMILIES = {
    'boxes': 'Boxes',
    'rotated': 'Rotated boxes',
    'boxes_3d': 'Boxes and points in 3D',
    'cross_entropy': 'Cross entropy',
    'focal': 'Focal loss',
    'quality_focal': 'Quality focal loss',
    'gradient_harmonizing': 'Gradient harmonizing',
    'long_tail': 'Long-tailed classes',
    'hard_negative': 'Hard-negative mining',
    'mask': 'Mask',
    'segmentation': 'Segmentation',
    'regression': 'Regression',
    'angular': 'Angular',
    'heatmap': 'Heatmap',
    'simcc': 'SimCC',
    'keypoint_similarity': 'Object keypoint similarity',
    'pose_3d': 'Poses in 3D',
    'probabilistic': 'Probabilistic',
    'corners': 'Corner detection',
    'margin': 'Angular margin',
    'center': 'Center loss',
    'cosine': 'Cosine',
    'embedding': 'Embeddings',
    'self_supervised': 'Self-supervised',
    'distillation': 'Distillation',
    'composite': 'Composite',
}

__all__ = [
    'AELoss', 'AdaptiveWingLoss', 'AlphaIoULoss', 'AngleDistanceLoss',
    'AngularLoss', 'ArcFaceLogitLoss', 'ArcFaceLoss', 'ArcMarginProduct',
    'AssociativeEmbeddingLoss', 'AsymmetricLoss', 'AxisAlignedIoULoss',
    'BCConvexGIoULoss', 'BCELoss', 'BalanceCrossEntropyLoss',
    'BalancedBCELoss', 'BalancedL1Loss', 'BaseLoss', 'BoneLoss',
    'BoundaryLoss', 'BoundedIoULoss', 'BoxLoss', 'BoxPair', 'CAELoss',
    'CCSLoss', 'CIoULoss', 'CenterLoss', 'CenterSoftmaxLoss',
    'ChamferDistance', 'ChannelWiseDivergence', 'ClDiceLoss',
    'ClassificationLoss', 'CombinedLoss', 'CombinedTargetMSELoss',
    'ConvexGIoULoss', 'CornerNetLoss', 'CosineSimilarityLoss',
    'CrossCorrelationLoss', 'CrossEntropyCustomLoss', 'CrossEntropyLoss',
    'DIoULoss', 'DiceLoss', 'DistributionFocalLoss', 'EIoULoss', 'EQLV2Loss',
    'ExtendedIoULoss', 'FeaLoss', 'FocalCustomLoss', 'FocalHeatmapLoss',
    'FocalLoss', 'GDLoss', 'GDLoss_v1', 'GHMC', 'GHMR', 'GIoULoss',
    'GaussianFocalLoss', 'H2RBoxConsistencyLoss', 'HausdorffDistanceLoss',
    'HeatmapLoss', 'HuasdorffDisstanceLoss', 'InfoNCELoss', 'InnerIoULoss',
    'IoULoss', 'JSDiscretLoss', 'KDLoss', 'KFLoss', 'KLDiscretLoss',
    'KLDivLoss', 'KeypointLoss', 'KeypointMSELoss', 'KeypointOHKMMSELoss',
    'KeypointPROPELLoss', 'KnowledgeDistillationKLDivLoss', 'L1Loss', 'L2Loss',
    'LabelSmoothLoss', 'LossInfo', 'LovaszLoss', 'MLECCLoss', 'MPDIoULoss',
    'MPJPELoss', 'MPJPEVelocityJointLoss', 'MSELoss', 'MarginL2Loss',
    'Modified', 'ModifiedSoftmaxLoss', 'MultiBinLoss',
    'MultiPosCrossEntropyLoss', 'MultipleLossWrapper', 'NWDLoss', 'NormFace',
    'NormFaceLoss', 'OKSLoss', 'OhemCrossEntropy', 'OksLoss',
    'PAConvRegularizationLoss', 'PROPEL', 'PROPELLoss', 'Paper',
    'PixelReconstructionLoss', 'ProbIoULoss', 'QualityFocalLoss', 'RLELoss',
    'RealNVP', 'RotatedCIoULoss', 'RotatedDIoULoss', 'RotatedGIoULoss',
    'RotatedIoU3DLoss', 'RotatedIoULoss', 'SIoULoss', 'SeesawLoss',
    'SemiSupervisionLoss', 'ShapeIoULoss', 'SiLogLoss', 'SmoothFocalLoss',
    'SmoothL1Loss', 'SoftWeightSmoothL1Loss', 'SoftWingLoss',
    'SpatialBorderLoss', 'SumLoss', 'SwAVLoss', 'TripletLoss', 'TverskyLoss',
    'UncertainL1Loss', 'UncertainSmoothL1Loss', 'VariFocalLoss',
    'VarifocalLoss', 'WIoULoss', 'WingLoss', 'adaptive_wing_loss',
    'angle_distance_loss', 'angular_loss', 'angular_margin', 'arcface_logits',
    'associative_embedding_loss', 'asymmetric_loss', 'authentic_smooth_l1',
    'axis_aligned_iou', 'bc_convex_giou_loss', 'binary_cross_entropy',
    'box_pair', 'ccs_loss', 'center_loss', 'centerloss', 'chamfer_distance',
    'cl_dice_loss', 'combined_target_mse_loss', 'convex_giou_loss',
    'corner_heatmap_loss', 'corner_offset_loss', 'cosine_logits',
    'cosine_similarity_loss', 'dice_loss', 'distillation_kl_loss',
    'distribution_focal_loss', 'equalized_weights', 'g_function',
    'gaussian_distance_loss', 'gaussian_distance_loss_v1',
    'gaussian_focal_loss', 'getloss', 'h_function', 'hard_keypoint_mse_loss',
    'harmonizing_weight', 'info_nce_loss', 'js_discret_loss',
    'kernel_correlation', 'kf_iou', 'kf_loss', 'kl_discret_loss', 'l1_loss',
    'mle_cc_loss', 'mpjpe_loss', 'mse_loss', 'multi_positive_cross_entropy',
    'multibin_loss', 'neg_loss', 'oks_loss', 'prob_iou_loss', 'propel_loss',
    'quality_focal_loss', 'rle_loss', 'rotated_iou', 'rotated_iou_3d',
    'seesaw_cross_entropy', 'sigmoid_focal_loss', 'silog_loss',
    'sinkhorn_assignments', 'smooth_l1_loss', 'smooth_labels',
    'soft_cross_entropy', 'soft_skeleton', 'soft_wing_loss',
    'softmax_focal_loss', 'spatial_border_loss', 'triplet_loss',
    'tversky_loss', 'unpack_prediction', 'varifocal_loss', 'wing_loss',
    'wise_iou_loss'
]
