"""The contract of every loss, as checks that anyone can run on their own.

:class:`LossCase` describes the inputs of a loss; :data:`CONTRACT` holds the
checks by name. A check raises an ``AssertionError`` that says which promise
was broken.
"""
from . import robustness, values
from .case import CONTRACT, LossCase, Stock, contract

__all__ = ['CONTRACT', 'LossCase', 'Stock', 'contract', 'robustness', 'values']
