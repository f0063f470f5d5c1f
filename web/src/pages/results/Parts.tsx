import type { ApiShape } from "../../api/types";
import { formatNumber } from "../../pure/format";
import { protocolLabel, scoreLabel } from "../../pure/metrics";
import { Notice } from "../../ui/Notice";
import { Quantity } from "../../ui/Quantity";
import { Table } from "../../ui/Table";

/** What is missing, of whom, and why: it is left out of every number here. */
export function Incomplete({ parts }: { parts: readonly ApiShape<"IncompletePart">[] }) {
  if (parts.length === 0) return null;
  return (
    <Notice tone="warn" title="Some parts are missing, and are left out of the numbers">
      <ul style={{ margin: 0, paddingLeft: "1.2rem" }}>
        {parts.map((part) => (
          <li key={`${part.model} ${part.protocol}`}>
            <strong>{part.model}</strong>,{" "}
            {part.protocol === null ? "the published model" : protocolLabel(part.protocol)}: {part.missing}{" "}
            without a result, the first is {part.unit}. {part.reason}
          </li>
        ))}
      </ul>
    </Notice>
  );
}

/** How the published models do on data of elsewhere. */
export function External({ view }: { view: ApiShape<"ExternalView"> | null }) {
  if (view === null)
    return (
      <p>
        No external data set was given. Scores of folds are of nets trained on the other folds; the published
        models have seen every subject and have no test scores of their own. Give an external data set when
        you start a benchmark.
      </p>
    );
  return (
    <div class="stack">
      <p>
        {view.kendall_tau === null
          ? `How alike the two orders are cannot be said: ${view.reason ?? "no reason was given"}.`
          : `Folds and external data agree on the order by ${formatNumber(view.kendall_tau)} (Kendall's tau: 1 is the same order, −1 the reverse).`}
      </p>
      <Table
        caption={`Published models on the external data set ${view.dataset}; in brackets the 95 % interval over subjects`}
        rows={view.leaderboard}
        keyOf={(row) => row.model + row.metric}
        columns={[
          { title: "Model", cell: (row) => row.model },
          {
            title: "Metric",
            cell: (row) => {
              const [metric, className] = row.metric.split("/");
              return scoreLabel(metric ?? "", className ?? "macro");
            },
          },
          {
            title: "Mean",
            number: true,
            cell: (row) => (
              <Quantity value={row.mean} unit="" interval={row.ci95 as [number, number] | null} />
            ),
          },
          { title: "Subjects", number: true, cell: (row) => row.n_subjects },
        ]}
      />
      {view.agreement.length > 1 ? (
        <Table
          caption="Agreement of each protocol with the external data"
          rows={view.agreement}
          keyOf={(row) => row.protocol}
          columns={[
            { title: "Protocol", cell: (row) => protocolLabel(row.protocol) },
            {
              title: "Kendall's tau",
              number: true,
              cell: (row) =>
                row.kendall_tau === null ? `none: ${row.reason ?? ""}` : formatNumber(row.kendall_tau),
            },
          ]}
        />
      ) : null}
    </div>
  );
}
