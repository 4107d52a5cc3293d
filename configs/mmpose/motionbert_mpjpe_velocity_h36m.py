# MotionBERT with our MPJPEVelocityJointLoss.
_base_ = 'mmpose::body_3d_keypoint/motionbert/h36m/motionbert_dstformer-243frm_8xb32-240e_h36m.py'  # noqa: E501

model = dict(head=dict(loss=dict(type='mmlosses.MPJPEVelocityJointLoss')))
