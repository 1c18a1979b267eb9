"""A second thread for the learning, from which the first can take work back rather than wait for it."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from stream_ottt.engine.precision import flush_denormals


class Job(ABC):
    """Work that is done in small steps, after other jobs.

    Attributes:
        done: its last step is over.
        taken: a thread is at it, or it is done.
    """

    done: bool
    taken: bool

    def __init__(self, after: Sequence[Job] = ()) -> None:
        self.done = self.taken = False
        self._after = [job for job in after if not job.done]

    @property
    def ready(self) -> bool:
        """All that it needs is done."""
        self._after = [job for job in self._after if not job.done]
        return not self._after

    @abstractmethod
    def steps(self, products: list[Any]) -> Iterator[None]:
        """Do it, in the buffers of the thread that does."""


class Worker:
    """Does ``urgent`` jobs first, and moves ``patient`` ones on step by step in the time that these leave.

    Args:
        products: over the thread's own buffers.
    """

    def __init__(self, products: list[Any]) -> None:
        self._products = products
        self._threads = torch.get_num_threads()
        self._changed = threading.Condition()
        self._urgent: deque[Job] = deque()
        self._patient: deque[tuple[Job, Iterator[None]]] = deque()
        self._closed = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="learning", daemon=True)
        self._thread.start()

    def use(self, products: list[Any]) -> None:
        """Work in other buffers from now on; nothing may be left to do."""
        with self._changed:
            self._products = products

    def add(self, job: Job, *, urgent: bool) -> None:
        """Have a job done."""
        with self._changed:
            if urgent:
                self._urgent.append(job)
            else:
                self._patient.append((job, job.steps(self._products)))
            self._changed.notify_all()

    def complete(self, job: Job, products: list[Any]) -> None:
        """Return once an urgent job is done. Rather than wait, this thread does it or others, last ones first.

        Raises:
            BaseException: what went wrong in the worker.
        """
        while not job.done:
            with self._changed:
                self._raise()
                mine = next((j for j in (job, *reversed(self._urgent)) if j.ready and not j.taken), None)
                if mine is None:
                    if not job.done:
                        self._changed.wait()
                    continue
                mine.taken = True
            try:
                for _ in mine.steps(products):
                    pass
            except BaseException as e:
                self._fail(e)
                raise
            self._finish(mine)

    def settle(self) -> None:
        """Return once nothing is left to do; raises what went wrong."""
        with self._changed:
            while self._failure is None and (self._urgent or self._patient):
                self._changed.wait()
            self._raise()

    def close(self) -> None:
        """End the thread, whatever is left to do but the step that it is at.

        Waits for it: a thread that the interpreter's end finds in the middle of a product takes the process down.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _raise(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _finish(self, job: Job) -> None:
        with self._changed:
            job.done = True
            if job in self._urgent:
                self._urgent.remove(job)
            self._changed.notify_all()

    def _fail(self, failure: BaseException) -> None:
        """Whoever waits is to be told: what builds on the job that failed will never be done."""
        with self._changed:
            self._failure = failure
            self._changed.notify_all()

    def _work(self) -> None:
        flush_denormals()
        torch.set_num_threads(self._threads)  # a new thread has a setting of its own
        try:
            while not self._closed:
                self._work_once()
        except BaseException as e:
            self._fail(e)

    def _work_once(self) -> None:
        """One urgent job, else one step of the first patient one, else wait."""
        with self._changed:
            if self._closed:
                return
            urgent = next((j for j in self._urgent if j.ready and not j.taken), None)
            patient = None
            if urgent is not None:
                urgent.taken = True
            elif self._patient and self._patient[0][0].ready:
                patient = self._patient[0]
            else:
                self._changed.wait()
                return
        if urgent is not None:
            for _ in urgent.steps(self._products):
                pass
            self._finish(urgent)
        elif patient is not None and next(patient[1], self) is self:  # that was its last step
            self._patient.popleft()
            self._finish(patient[0])
