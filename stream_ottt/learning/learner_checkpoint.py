"""A learner's whole state by name, to be saved; a learner that takes it goes on to the bit."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING

from stream_ottt.learning.learner_state import LearnerCounts, LearnerState
from stream_ottt.network.network import Network
from stream_ottt.state import State, part, take, under

if TYPE_CHECKING:
    from stream_ottt.learning.learner import OnlineLearner


def pack(learner: OnlineLearner, state: LearnerState) -> State:
    """All of a learner, which is in this state, as tensors and plain JSON values."""
    network = learner.network
    network.settle()
    layout = network.layout()  # first: it brings the weights into the form in which they go on
    found: State = {
        **under("weights", {k: v.clone() for k, v in network.parameters.items()}),
        **under("optimizer", {k: v.clone() for k, v in learner.optimizer.state().items()}),
        **state.pack(network),
        "classes": list(learner.classes),
        "steps": learner.optimizer.steps,
        "counts": asdict(learner.counts),
        "learned_from": learner.learned_from,
        "centred": network.centred,
        "layout": layout,
    }
    if network.generator is not None:
        found["generator"] = network.generator.get_state()
    if learner.average is not None:
        found |= under("average", _pack_average(learner.average.network, state))
    return found


def _pack_average(network: Network, state: LearnerState) -> State:
    predicting = state.predicting
    return {
        "layout": network.layout(),
        "predicting": predicting is not None,
        **under("weights", {k: v.clone() for k, v in network.parameters.items()}),
        **under("state", {} if predicting is None else predicting.pack(network.names)),
    }


def unpack(learner: OnlineLearner, found: State) -> LearnerState:
    """Put back what :func:`pack` gave; the state to go on from.

    Raises:
        ValueError: it is of another network; nothing was changed.
    """
    network, weights, classes = learner.network, part(found, "weights"), list(take(found, "classes"))
    own = len(learner.classes)
    if classes[:own] != learner.classes:
        raise ValueError(f"classes: expected {learner.classes} and perhaps more, found {classes}")
    _check_shapes(network, weights, more=len(classes) - own)
    for label in classes[own:]:
        learner.add_class(label)
    for name, value in network.parameters.items():
        value.copy_(weights[name])
    network.weights_changed(centred=take(found, "centred"))
    network.set_layout(take(found, "layout"))
    learner.optimizer.set_state(part(found, "optimizer"), take(found, "steps"))
    if network.generator is not None:
        network.generator.set_state(take(found, "generator"))
    counts = take(found, "counts")
    learner.counts = LearnerCounts(**{f.name: take(counts, f.name) for f in fields(LearnerCounts)})
    learner.learned_from = take(found, "learned_from")
    state = LearnerState.unpack(network, found)
    if learner.average is not None:
        theirs, averaged = part(found, "average"), learner.average.network
        learner.average.take(part(theirs, "weights"), centred=take(found, "centred"))
        averaged.set_layout(theirs["layout"])
        if theirs["predicting"]:
            state.predicting = averaged.rest()
            state.predicting.unpack(averaged.names, part(theirs, "state"), [])
    return state


def _check_shapes(network: Network, weights: State, *, more: int) -> None:
    """Raise ValueError where these are no weights of the network with so many more classes."""
    parameters = {name: tuple(value.shape) for name, value in network.parameters.items()}
    readout = network.readout.connection
    for key, value in readout.parameters.items():
        parameters[f"{readout.name}{key}"] = (len(value) + more, *value.shape[1:])
    theirs = {name: tuple(value.shape) for name, value in weights.items()}
    for name in sorted(parameters.keys() | theirs.keys()):
        if parameters.get(name) != theirs.get(name):
            raise ValueError(
                f"parameter {name!r}: expected {parameters.get(name)}, found {theirs.get(name)}: "
                "it is of another network"
            )
