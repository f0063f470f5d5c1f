import { Link } from "wouter-preact";
import { query, saveBlob, sendForBlob } from "../../api/client";
import { useAction } from "../../api/resource";
import type { Verdict } from "../../api/types";
import { ServiceFigure } from "../../charts/ServiceFigure";
import { count, formatNumber } from "../../pure/format";
import { metricOf, protocolLabel, scoreLabel } from "../../pure/metrics";
import { sampleSd } from "../../pure/spread";
import { Button, ButtonLink } from "../../ui/Button";
import { ProblemNote } from "../../ui/Notice";
import { Quantity } from "../../ui/Quantity";
import { Table } from "../../ui/Table";
import { VerdictBadge } from "../../ui/VerdictBadge";
import { Warnings } from "../../ui/Warnings";
import { Decisive, Effects, Provenance, Sensitivity } from "./Grounds";

/** The verdict: its sentence first, then what it rests on. */
export function Answer({ verdict, body }: { verdict: Verdict; body: object }) {
  const [a, b] = verdict.models as [string, string];
  return (
    <div class="stack">
      <section class="card stack" aria-label="The verdict" aria-live="polite">
        <Badges verdict={verdict} />
        <p style={{ fontSize: "1.3rem", lineHeight: 1.4, margin: 0 }} data-testid="verdict-sentence">
          {verdict.sentence}
        </p>
        {verdict.choose ? (
          <p style={{ margin: 0 }}>
            <strong>Which to use: {{ a, b, either: "either" }[verdict.choose.model]}.</strong>{" "}
            {verdict.choose.reason}
          </p>
        ) : null}
        <Standing verdict={verdict} />
        <Warnings of={verdict.warnings} />
        <Reports verdict={verdict} body={body} />
      </section>
      <section class="card stack">
        <h2>The difference against the margin</h2>
        <ServiceFigure
          path="/v1/comparisons/figures/forest"
          body={body}
          caption={`${a} minus ${b}: each subject, and the mean with its 90 % (thick) and 95 % (thin) interval; the band is the margin.`}
          table={<Decisive verdict={verdict} />}
        />
      </section>
      <Sensitivity verdict={verdict} />
      <Subjects verdict={verdict} body={body} />
      <Effects verdict={verdict} />
      <Provenance verdict={verdict} />
    </div>
  );
}

function Badges({ verdict }: { verdict: Verdict }) {
  const { protocol } = verdict.dependence;
  return (
    <div class="row">
      <span style={{ fontSize: "1.15rem" }} data-testid="verdict">
        <VerdictBadge verdict={verdict.verdict} models={verdict.models as [string, string]} />
      </span>
      {verdict.no_winner ? <span class="badge">no winner</span> : null}
      <span class={`badge ${verdict.exploratory ? "warn" : "good"}`}>
        {verdict.exploratory ? "exploratory" : "confirmatory"}
      </span>
      <span class="soft small">
        {scoreLabel(verdict.metric, verdict.class)}
        {protocol ? ` · ${protocolLabel(protocol)}` : ""} · {count(verdict.n_units, "subject")}
      </span>
    </div>
  );
}

function Standing({ verdict }: { verdict: Verdict }) {
  const { plan } = verdict;
  if (!plan)
    return (
      <p class="soft" style={{ margin: 0 }}>
        Exploratory, because no plan was locked: good for deciding what to test next, not for a claim in a
        paper.
      </p>
    );
  const lines = [...plan.reasons, ...plan.notes];
  return (
    <div>
      <p style={{ margin: 0 }}>
        Use {plan.use} of <Link href={`/plans/${plan.id}`}>the plan</Link>:{" "}
        {plan.confirmatory ? "confirmatory." : "exploratory, because:"}
      </p>
      {lines.length ? (
        <ul style={{ margin: 0 }}>
          {lines.map((line) => (
            <li key={line}>{line}</li>
          ))}
        </ul>
      ) : null}
    </div>
  );
}

/** The planner, with what these subjects say about the spread. */
function plannerPath({ subjects, margin, dependence, n_units: pilot, alpha }: Verdict): string {
  const sd = sampleSd(subjects.map((s) => s.difference));
  const known = /^(loocv|kfold[35])$/.test(dependence.protocol ?? "") ? dependence.protocol : null;
  return `/planner${query({ sd: sd ? sd.toPrecision(3) : null, pilot, margin: Number(margin.value), protocol: known, alpha })}`;
}

function Reports({ verdict, body }: { verdict: Verdict; body: object }) {
  const save = useAction(async (form: string) =>
    saveBlob(await sendForBlob(`/v1/comparisons/report.${form}`, body), `comparison.${form}`),
  );
  return (
    <>
      <div class="row">
        <Button busy={save.running} onClick={() => void save.run("pdf")}>
          Report (PDF)
        </Button>
        <Button busy={save.running} onClick={() => void save.run("html")}>
          Report (HTML)
        </Button>
        <ButtonLink href={plannerPath(verdict)}>How many subjects next time?</ButtonLink>
      </div>
      <ProblemNote problem={save.problem} />
    </>
  );
}

function Subjects({ verdict, body }: { verdict: Verdict; body: object }) {
  const { unit } = metricOf(verdict.metric);
  const worst = verdict.worst_case;
  const after = unit ? ` ${unit}` : "";
  const rows = [...verdict.subjects].sort((x, y) => x.subject.localeCompare(y.subject));
  return (
    <section class="card stack">
      <h2>Subject by subject</h2>
      <p>
        The two differ most on <strong>{worst.subject}</strong>: {formatNumber(worst.a)} against{" "}
        {formatNumber(worst.b)}
        {after} (difference {formatNumber(worst.difference)}
        {after}).
      </p>
      <ServiceFigure
        path="/v1/comparisons/figures/slopes"
        body={body}
        caption="Both scores of every subject, joined."
        table={
          <Table
            caption={`${scoreLabel(verdict.metric, verdict.class)}, sections of a subject averaged`}
            rows={rows}
            keyOf={(row) => row.subject}
            columns={[
              { title: "Subject", cell: (row) => row.subject },
              {
                title: verdict.models[0],
                number: true,
                cell: (row) => <Quantity value={row.a} unit={unit} />,
              },
              {
                title: verdict.models[1],
                number: true,
                cell: (row) => <Quantity value={row.b} unit={unit} />,
              },
              {
                title: "Difference",
                number: true,
                cell: (row) => <Quantity value={row.difference} unit={unit} />,
              },
            ]}
          />
        }
      />
    </section>
  );
}
