"""Metadata of a loss, which stand beside its class.

Pages, citations, the catalogue and the checks of configs are made from them.
"""
from __future__ import annotations
from typing import NamedTuple


class Paper(NamedTuple):
    """The publication of a loss: authors separated by commas."""
    authors: str
    title: str
    venue: str
    year: int
    arxiv: str = ''

    @property
    def url(self) -> str:
        """Its page at arXiv, or nothing."""
        return self.arxiv and f'https://arxiv.org/abs/{self.arxiv}'


class LossInfo(NamedTuple):
    """The metadata of a loss.

    Args:
        purpose (str): What it is for, in a line.
        slots (str): Where stock configs take it.
        expects (str): What the prediction must be: ``'boxes'`` (decoded
            xyxy), ``'pixel boxes'``, ``'scores'`` (logits of classes),
            ``'logits'``, ``'probabilities'`` (unless ``use_sigmoid=True``),
            ``'numbers'``, ``'vectors'`` (cos, sin), ``'features'``,
            ``'scaled cosines'``, ``'tags'``, ``'bins'``, ``'mixture'`` or
            ``'any'``.
        paper (Paper, optional): The paper to cite.
        source (str): Further sources, or what of the paper is meant.
    """
    purpose: str
    slots: str
    expects: str
    paper: Paper | None = None
    source: str = ''
