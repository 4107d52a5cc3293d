# DeepPose for facial landmarks with our WingLoss.
# mmpose weights the coordinates, ours the loss: equal for weights 0 and 1
# only.
_base_ = 'mmpose::face_2d_keypoint/topdown_regression/wflw/td-reg_res50_wingloss_8xb64-210e_wflw-256x256.py'  # noqa: E501

model = dict(head=dict(loss=dict(type='mmlosses.WingLoss')))
