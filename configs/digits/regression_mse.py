# regression_smooth_l1.py with MSELoss.
_base_ = 'regression_smooth_l1.py'

bar = 0.85  # required value of the `save_best` metric

model = dict(
    head=dict(
        loss=dict(
            _delete_=True, type='mmlosses.MSELoss', use_target_weight=True)))
