"""Use case of the stats service: scores in; verdicts, rankings, intervals and plans out."""
