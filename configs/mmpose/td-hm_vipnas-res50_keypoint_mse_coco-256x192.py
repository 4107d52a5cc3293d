# ViPNAS, which has its own head, with our KeypointMSELoss.
# As in every heatmap head, the mean covers all pixels of all keypoints.
_base_ = 'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_vipnas-res50_8xb64-210e_coco-256x192.py'  # noqa: E501

model = dict(head=dict(loss=dict(type='mmlosses.KeypointMSELoss')))
