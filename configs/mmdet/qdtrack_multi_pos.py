# QDTrack with our MultiPosCrossEntropyLoss for the embeddings.
# The head divides by the number of objects that the other frame shows too.
_base_ = 'mmdet::qdtrack/qdtrack_faster-rcnn_r50_fpn_4e_base.py'
model = dict(
    track_head=dict(
        embed_head=dict(
            loss_track=dict(type='mmlosses.MultiPosCrossEntropyLoss'))))
