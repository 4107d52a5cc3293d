"""Metadata of losses, for pages, citations, catalogue and config checks."""
from __future__ import annotations
from typing import Mapping, NamedTuple, Tuple


class Paper(NamedTuple):
    """The publication of a loss; authors are separated by commas."""
    authors: str
    title: str
    venue: str
    year: int
    arxiv: str = ''

    @property
    def url(self) -> str:
        """The address of its arXiv page, or an empty string."""
        return self.arxiv and f'https://arxiv.org/abs/{self.arxiv}'


class LossInfo(NamedTuple):
    """The metadata of a loss.

    Args:
        purpose (str): The use of the loss, in one line.
        slots (str): Where stock configs use it.
        expects (str): Kind of the prediction: ``'boxes'`` (decoded xyxy),
            ``'pixel boxes'``, ``'rotated boxes'``, ``'3D boxes'``,
            ``'points'``, ``'scores'`` (logits of classes), ``'logits'``,
            ``'probabilities'`` (unless ``use_sigmoid=True``), ``'numbers'``,
            ``'vectors'`` (cos, sin), ``'features'``, ``'scaled cosines'``,
            ``'tags'``, ``'bins'``, ``'mixture'`` or ``'any'``.
        paper (Paper, optional): The paper to cite.
        source (str): Further sources, or the part of the paper.
        search (dict): Arguments worth tuning, each with its least and greatest
            value; integers where both are.
    """
    purpose: str
    slots: str
    expects: str
    paper: Paper | None = None
    source: str = ''
    search: Mapping[str, Tuple[float, float]] = {}
