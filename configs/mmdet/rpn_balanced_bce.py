# RPN with hard-negative mining instead of random sampling.
# Without `PseudoSampler`, only 256 sampled anchors would remain to mine from.
# Each pyramid level is mined separately.
_base_ = 'mmdet::rpn/rpn_r50_fpn_1x_coco.py'
model = dict(
    rpn_head=dict(
        loss_cls=dict(type='mmlosses.BalancedBCELoss', negative_ratio=3.0)),
    train_cfg=dict(
        rpn=dict(sampler=dict(_delete_=True, type='PseudoSampler'))))
