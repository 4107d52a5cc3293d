"""Metainfo of a dataset of four keypoints."""
dataset_info = dict(dataset_name='four', sigmas=[0.2, 0.3, 0.4, 0.5])
