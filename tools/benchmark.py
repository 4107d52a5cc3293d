"""Benchmark the losses, see tools/dev/benchmarks/command.py."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / 'dev'))

from benchmarks.command import main  # noqa: E402

if __name__ == '__main__':
    main()
