# DWPose, first stage, with our FeaLoss for features and KDLoss for scores.
# The distiller finds them by `name`. `teacher_cfg` and `student_cfg` are
# inherited paths in mmpose's repository: start there, or name others.
_base_ = 'mmpose::wholebody_2d_keypoint/dwpose/coco-wholebody/s1_dis/dwpose_l_dis_m_coco-256x192.py'  # noqa: E501

model = dict(distill_cfg=[
    dict(methods=[
        dict(
            type='mmlosses.FeaLoss',
            name='loss_fea',
            use_this=True,
            student_channels=768,
            teacher_channels=1024,
            alpha_fea=0.00007)
    ]),
    dict(methods=[
        dict(
            type='mmlosses.KDLoss',
            name='loss_logit',
            use_this=True,
            weight=0.1)
    ])
])
