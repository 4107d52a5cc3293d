# UDP with heatmaps and offsets, three channels for each keypoint.
# A weight of the keypoints is (N, K), not (N, 3K).
_base_ = 'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_hrnet-w32_udp-regress-8xb64-210e_coco-256x192.py'  # noqa: E501

model = dict(head=dict(loss=dict(type='mmlosses.CombinedTargetMSELoss')))
