"""Each of several sources to the end of the pipeline: its facts, its account, its labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from stream_ottt.events.packet import Ledger, Shares
from stream_ottt.pipeline.publishing import Published
from stream_ottt.pipeline.source import Source


def facts_of_sources(
    source: Source, stages: Sequence[Ledger], published: Published | None
) -> tuple[dict[str, Any], Ledger]:
    """The facts of each of several sources, with its account to the end; and what they all have not given on.

    Args:
        source: of the run.
        stages: the accounts of what comes behind it, downstream first.
        published: what the learner's thread said last, which knows of the labels that came.
    """
    parts = source.parts()
    shares = [Ledger.total(ledger.share(i) for ledger in stages) for i in range(len(parts))]
    held = source.accounts()
    labels = {} if published is None else published.session.label_sources
    facts = {}
    for share, own, (name, about) in zip(shares, held, parts.items(), strict=True):
        facts[name] = {"events": Ledger.total((share, own)).facts(), **about}
        if name in labels:
            facts[name]["labels"] = labels[name]
    return facts, Ledger.total(held)


def in_hand_by_source(stages: Sequence[Ledger]) -> Shares:
    """Events in hand of each of several sources."""
    sources = {i for ledger in stages for i in ledger.sources}
    return Counter({i: Ledger.total(ledger.share(i) for ledger in stages).in_hand for i in sources})
