# VideoPose3D with our MPJPELoss.
_base_ = 'mmpose::body_3d_keypoint/video_pose_lift/h36m/video-pose-lift_tcn-27frm-supv_8xb128-160e_h36m.py'  # noqa: E501

model = dict(head=dict(loss=dict(type='mmlosses.MPJPELoss')))
