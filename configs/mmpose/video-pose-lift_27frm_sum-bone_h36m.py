# VideoPose3D with MPJPE and the lengths of bones.
# `BoneLoss` alone does not say where the joints are.
_base_ = 'mmpose::body_3d_keypoint/video_pose_lift/h36m/video-pose-lift_tcn-27frm-supv_8xb128-160e_h36m.py'  # noqa: E501

model = dict(
    head=dict(
        loss=dict(
            type='mmlosses.SumLoss',
            losses=[
                dict(type='mmlosses.MPJPELoss'),
                dict(
                    type='mmlosses.BoneLoss',
                    joint_parents=[
                        0, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15
                    ],
                    loss_weight=0.1)
            ])))
