# regression_smooth_l1.py with the squared error.
# Bar: PCK above 0.85, where chance is 0.009.
_base_ = 'regression_smooth_l1.py'

bar = 0.85  # what the metric of `save_best` must reach

model = dict(
    head=dict(
        loss=dict(
            _delete_=True, type='mmlosses.MSELoss', use_target_weight=True)))
