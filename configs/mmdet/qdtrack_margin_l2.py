# QDTrack with our MarginL2Loss for the cosines of pairs.
# Margins and mining are inherited. `clamp_positives=False` would also pull
# positives whose cosine is below 0.
_base_ = 'mmdet::qdtrack/qdtrack_faster-rcnn_r50_fpn_4e_base.py'
model = dict(
    track_head=dict(
        embed_head=dict(loss_track_aux=dict(type='mmlosses.MarginL2Loss'))))
