"""Use case: dataset + spec -> studies, scores, published models; one function per kind of unit.

Each public function is a ``Handler`` of ``intima.store.work``: its result follows from its payload and the results of
the units it needs, so a second attempt on any worker gives the same.
"""

from intima.benchmark.external import run_external
from intima.benchmark.folds import run_collect, run_fold
from intima.benchmark.publishing import run_fit, run_publish
from intima.benchmark.trials import run_trial

__all__ = ["run_collect", "run_external", "run_fit", "run_fold", "run_publish", "run_trial"]
