# Associative embedding with our AssociativeEmbeddingLoss for the tags.
# The call of the head selects the formula for keypoints: `push_loss_factor`
# has an effect, `pull_weight`, `push_weight` and `margin` have none.
_base_ = 'mmpose::body_2d_keypoint/associative_embedding/coco/ae_hrnet-w32_8xb24-300e_coco-512x512.py'  # noqa: E501

model = dict(
    head=dict(tag_loss=dict(type='mmlosses.AssociativeEmbeddingLoss')))
