# RPN: hard negatives are mined instead of drawn.
# Without `PseudoSampler` the stock sampler leaves 256 anchors to mine from.
# The mining is that of one level of the pyramid at a time.
_base_ = 'mmdet::rpn/rpn_r50_fpn_1x_coco.py'
model = dict(
    rpn_head=dict(
        loss_cls=dict(type='mmlosses.BalancedBCELoss', negative_ratio=3.0)),
    train_cfg=dict(
        rpn=dict(sampler=dict(_delete_=True, type='PseudoSampler'))))
