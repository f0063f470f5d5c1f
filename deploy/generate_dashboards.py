"""Write deploy/grafana/dashboards from the panels below, or fail with ``--check`` when they differ.

The dashboards need a datasource of the type prometheus; provisioning/ names one. Metrics of the ledger come from every
api replica alike: max over replicas, never sum.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "grafana" / "dashboards"
SOURCE = {"type": "prometheus", "uid": "${source}"}
WIDTH = 24


@dataclass(frozen=True)
class Panel:
    """One picture: queries with the text of their legends."""

    title: str
    unit: str
    """A unit of Grafana's: s, reqps, short, bytes, percentunit, none."""
    about: str
    queries: tuple[tuple[str, str], ...]
    width: int = 8
    kind: str = "timeseries"
    """stat shows the last value as a number."""


@dataclass(frozen=True)
class Board:
    """One dashboard: panels from left to right, row by row."""

    uid: str
    title: str
    panels: tuple[Panel, ...]


def quantile(share: float, metric: str, by: str) -> str:
    """Return the query of a quantile of a histogram."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({metric}_bucket[$__rate_interval])))"


def rate(metric: str, by: str, where: str = "") -> str:
    """Return the query of a rate per second, summed over processes."""
    return f"sum by ({by}) (rate({metric}{where}[$__rate_interval]))"


REQUESTS = "intima_http_requests_total"
ATTEMPTS = "intima_unit_attempts_total"
MEGAPIXELS = "intima_segmentation_megapixels_total"
SEGMENTING = "intima_segmentation_compute_seconds"

OVERVIEW = Board(
    "intima-overview",
    "Intima: overview",
    (
        Panel("Processes that answer", "none", "By service; 0 is red.", (("sum by (job) (up)", "{{job}}"),), 6, "stat"),
        Panel(
            "Requests that fail",
            "percentunit",
            "Share of 5xx among the answers of the last five minutes.",
            (
                (
                    f'(sum(rate({REQUESTS}{{status=~"5.."}}[5m])) or vector(0)) / sum(rate({REQUESTS}[5m]))',
                    "failed",
                ),
            ),
            6,
            "stat",
        ),
        Panel(
            "Longest wait",
            "s",
            "For how long the longest ready unit of each queue has been ready.",
            (("max by (queue) (intima_oldest_ready_unit_seconds)", "{{queue}}"),),
            6,
            "stat",
        ),
        Panel(
            "Free space",
            "percentunit",
            "Of the data's volume. Below a tenth there is an alert, and the last is refused with 507.",
            (("min(intima_data_free_bytes / intima_data_size_bytes)", "free"),),
            6,
            "stat",
        ),
        Panel("Requests by status", "reqps", "Over all routes.", ((rate(REQUESTS, "status"), "{{status}}"),)),
        Panel(
            "Slowest routes (95 %)",
            "s",
            "The five routes with the highest 95th percentile.",
            ((f"topk(5, {quantile(0.95, 'intima_http_request_seconds', 'route')})", "{{route}}"),),
        ),
        Panel(
            "Requests in flight",
            "short",
            "Requests without a whole answer, and gRPC calls.",
            (
                ("sum by (job) (intima_http_requests_in_flight)", "{{job}} HTTP"),
                ("sum by (job) (intima_rpc_calls_in_flight)", "{{job}} gRPC"),
            ),
        ),
        Panel(
            "Problems told to clients",
            "reqps",
            "By code, as in the problem's type.",
            ((f"{rate('intima_problems_total', 'code')} > 0", "{{code}}"),),
        ),
        Panel(
            "gRPC calls by status",
            "reqps",
            "Over all methods.",
            ((rate("intima_rpc_calls_total", "status"), "{{status}}"),),
        ),
        Panel(
            "Memory of the processes",
            "bytes",
            "Resident.",
            (("max by (job) (process_resident_memory_bytes)", "{{job}}"),),
        ),
        Panel(
            "Alerts",
            "short",
            "Alerts that fire now.",
            (('count by (alertname) (ALERTS{alertstate="firing"})', "{{alertname}}"),),
            12,
        ),
        Panel(
            "Processor time",
            "percentunit",
            "Cores in use by the processes themselves; the children of units are not in it.",
            ((rate("process_cpu_seconds_total", "job"), "{{job}}"),),
            12,
        ),
    ),
)

SEGMENTATION = Board(
    "intima-segmentation",
    "Intima: segmentation",
    (
        Panel(
            "Segmentations by outcome",
            "short",
            "Per minute, in jobs and in requests.",
            ((f"60 * {rate('intima_segmentations_total', 'where, outcome')}", "{{where}} {{outcome}}"),),
        ),
        Panel(
            "Time by model (median)",
            "s",
            "Without the wait.",
            ((quantile(0.5, SEGMENTING, "model, version"), "{{model}}@{{version}}"),),
        ),
        Panel(
            "Time by model (95 %)",
            "s",
            "Without the wait.",
            ((quantile(0.95, SEGMENTING, "model, version"), "{{model}}@{{version}}"),),
        ),
        Panel(
            "Throughput",
            "none",
            "Megapixels at the model's resolution per second of work.",
            (
                (
                    " / ".join(rate(m, "provider, precision") for m in (MEGAPIXELS, f"{SEGMENTING}_sum")),
                    "{{provider}} {{precision}}",
                ),
            ),
        ),
        Panel(
            "Wait in the queue",
            "s",
            "Half and 95 % of the units of segmentations waited no longer.",
            (
                (quantile(0.5, "intima_unit_queue_seconds", "queue"), "{{queue}} half"),
                (quantile(0.95, "intima_unit_queue_seconds", "queue"), "{{queue}} 95 %"),
            ),
        ),
        Panel(
            "Turns of requests",
            "short",
            "Requests to /v1/segment and /v2 that compute or wait for it, per api.",
            (("max by (turns, state) (intima_turns)", "{{turns}} {{state}}"),),
        ),
        Panel(
            "Models looked up",
            "reqps",
            "hit: held in memory by the api; load: read from the store.",
            ((rate("intima_model_lookups_total", "outcome"), "{{outcome}}"),),
        ),
        Panel(
            "Requests to /v1/segment",
            "reqps",
            "By status.",
            ((rate(REQUESTS, "status", '{route="/v1/segment"}'), "{{status}}"),),
        ),
        Panel(
            "Memory of GPUs",
            "bytes",
            "In use, as the driver tells it; empty where no worker has one.",
            (("max by (gpu) (intima_gpu_memory_used_bytes)", "{{gpu}}"),),
        ),
    ),
)

JOBS = Board(
    "intima-jobs",
    "Intima: jobs and workers",
    (
        Panel(
            "Jobs that go on",
            "short",
            "By kind and state.",
            (('max by (kind, state) (intima_jobs{state=~"queued|running|canceling"})', "{{kind}} {{state}}"),),
        ),
        Panel(
            "Units by queue",
            "short",
            "Waiting for others, ready, running.",
            (("max by (queue, state) (intima_units)", "{{queue}} {{state}}"),),
        ),
        Panel(
            "Age of the longest ready unit",
            "s",
            "What a user who comes now has to expect at least.",
            (("max by (queue) (intima_oldest_ready_unit_seconds)", "{{queue}}"),),
        ),
        Panel(
            "Attempts by outcome",
            "short",
            "Per minute; ready: will be tried again, lost: another worker has it.",
            ((f"60 * {rate(ATTEMPTS, 'queue, outcome')}", "{{queue}} {{outcome}}"),),
        ),
        Panel(
            "Wait by kind (95 %)",
            "s",
            "From ready to claimed.",
            ((quantile(0.95, "intima_unit_queue_seconds", "kind"), "{{kind}}"),),
        ),
        Panel(
            "Work by kind (95 %)",
            "s",
            "From claimed to the end of the attempt.",
            ((quantile(0.95, "intima_unit_compute_seconds", "kind"), "{{kind}}"),),
        ),
        Panel(
            "Slots in use",
            "short",
            "Units that run.",
            (('max by (queue) (intima_units{state="running"})', "{{queue}}"),),
        ),
        Panel(
            "Failed attempts by reason",
            "short",
            "Per minute.",
            ((f"60 * {rate('intima_unit_failures_total', 'kind, code')} > 0", "{{kind}} {{code}}"),),
        ),
        Panel(
            "Leases that ran out, messages sent again",
            "short",
            "Per minute, by all sweepers.",
            (
                ("60 * sum(rate(intima_lease_expiries_total[$__rate_interval]))", "leases"),
                (f"60 * {rate('intima_messages_sent_by_sweeps_total', 'queue')}", "messages {{queue}}"),
            ),
        ),
        Panel(
            "Finished jobs",
            "short",
            "In the database, by kind and state.",
            (('max by (kind, state) (intima_jobs{state=~"succeeded|failed|canceled"})', "{{kind}} {{state}}"),),
        ),
        Panel(
            "Sweeps", "reqps", "Looks for lost units, by all workers.", (("sum(rate(intima_sweeps_total[5m]))", "all"),)
        ),
        Panel(
            "Database answers",
            "none",
            "1 where its counts were read in time.",
            (("min(intima_ledger_readable)", "readable"),),
        ),
    ),
)

BOARDS = (OVERVIEW, SEGMENTATION, JOBS)


def board_json(board: Board) -> dict[str, Any]:
    """Return a dashboard as Grafana reads it."""
    return {
        "uid": board.uid,
        "title": board.title,
        "tags": ["intima"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": [_source_choice()]},
        "panels": _placed(board.panels),
    }


def _source_choice() -> dict[str, Any]:
    return {"name": "source", "label": "Source", "type": "datasource", "query": "prometheus", "hide": 0}


def _placed(panels: tuple[Panel, ...]) -> list[dict[str, Any]]:
    x = y = 0
    height = 0
    found = []
    for number, panel in enumerate(panels, 1):
        if x + panel.width > WIDTH:
            x, y = 0, y + height
        height = 4 if panel.kind == "stat" else 8
        found.append(_panel_json(panel, number, {"x": x, "y": y, "w": panel.width, "h": height}))
        x += panel.width
    return found


def _panel_json(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {} if panel.kind == "stat" else {"legend": {"displayMode": "list", "placement": "bottom"}},
        "targets": [
            {"refId": chr(ord("A") + i), "datasource": SOURCE, "expr": query, "legendFormat": legend}
            for i, (query, legend) in enumerate(panel.queries)
        ],
    }


def main() -> int:
    """Write the dashboards, or compare them."""
    check = "--check" in sys.argv[1:]
    stale = []
    for board in BOARDS:
        path = FOLDER / f"{board.uid}.json"
        text = json.dumps(board_json(board), indent=2, ensure_ascii=False) + "\n"
        if check and (not path.is_file() or path.read_text() != text):
            stale.append(path.name)
        elif not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    if stale:
        sys.stderr.write(f"{', '.join(stale)} differ; run python deploy/generate_dashboards.py\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
