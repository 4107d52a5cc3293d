# regression_smooth_l1.py with the squared error.
_base_ = 'regression_smooth_l1.py'

model = dict(
    head=dict(
        loss=dict(
            _delete_=True, type='mmlosses.MSELoss', use_target_weight=True)))
