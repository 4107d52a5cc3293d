# regression_smooth_l1.py with L1Loss.
_base_ = 'regression_smooth_l1.py'

bar = 0.85  # required value of the `save_best` metric

model = dict(
    head=dict(
        loss=dict(
            _delete_=True, type='mmlosses.L1Loss', use_target_weight=True)))
