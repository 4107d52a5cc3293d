# DeepPose for facial landmarks with our SoftWingLoss.
# Positions are in [0, 1], where the default `omega1` makes it an L1 loss.
_base_ = 'mmpose::face_2d_keypoint/topdown_regression/wflw/td-reg_res50_softwingloss_8xb64-210e_wflw-256x256.py'  # noqa: E501

model = dict(head=dict(loss=dict(type='mmlosses.SoftWingLoss')))
