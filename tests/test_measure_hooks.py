"""tools/measure_hooks.py in short."""
import re

import pytest
from trainings import main as measure_hooks
from trainings import skip_without_openmmlab


@pytest.mark.openmmlab
@pytest.mark.slow
def test_prints_rounds_and_medians(coco, capsys):
    skip_without_openmmlab()
    measure_hooks([
        str(coco), 'mmlosses.LossDoctorHook', '--args', 'action=skip',
        '--size', '96', '64', '--epochs', '2', '--rounds', '2'
    ])
    rows = re.findall(r'^(median )?([\d.]+) ([\d.]+) ([\d.]+); ',
                      capsys.readouterr().out, re.M)
    assert [row[0] for row in rows] == ['', '', 'median ']
    for _, without, with_hook, ratio in rows[:2]:
        assert float(ratio) == pytest.approx(
            float(with_hook) / float(without), abs=0.01)


def test_wrong_folder(tmp_path, capsys):
    with pytest.raises(SystemExit) as exit:
        measure_hooks([str(tmp_path), 'mmlosses.LossDoctorHook'])
    assert exit.value.code == 2
    assert 'test_coco.json' in capsys.readouterr().err
