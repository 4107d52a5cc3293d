# LD with our KnowledgeDistillationKLDivLoss for the bins of the box edges.
# `loss_weight=0.25` and `T=10` are inherited. `teacher_config` is a path in
# mmdet's repository: start there, or name another one.
_base_ = 'mmdet::ld/ld_r18-gflv1-r101_fpn_1x_coco.py'
model = dict(
    bbox_head=dict(
        loss_ld=dict(type='mmlosses.KnowledgeDistillationKLDivLoss')))
