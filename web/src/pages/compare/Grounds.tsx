import type { ComponentChildren } from "preact";
import type { Verdict } from "../../api/types";
import { formatNumber, formatPercent } from "../../pure/format";
import { metricOf } from "../../pure/metrics";
import { agreementOfMethods, effectLabel, formatP, methodLabel } from "../../pure/verdicts";
import { Quantity } from "../../ui/Quantity";
import { Table } from "../../ui/Table";
import { VerdictBadge } from "../../ui/VerdictBadge";

type Pair = readonly [number, number];
type Line = [string, ComponentChildren];

const NO_SPREAD = "none: the same on every subject";

/** The numbers that decide. */
export function Decisive({ verdict }: { verdict: Verdict }) {
  return (
    <Table
      caption="What decides"
      captionHidden
      rows={[...intervalLines(verdict), ...doubtLines(verdict)]}
      keyOf={([name]) => name}
      columns={[
        { title: "What", cell: ([name]) => <span style={{ fontWeight: 400 }}>{name}</span> },
        { title: "Value", cell: ([, value]) => value },
      ]}
    />
  );
}

function intervalLines({ difference, naive_difference: naive, margin, metric, dependence }: Verdict): Line[] {
  const { unit } = metricOf(metric);
  const after = unit ? ` ${unit}` : "";
  const limits = (of: Pair | null) =>
    of ? `${formatNumber(of[0])} to ${formatNumber(of[1])}${after}` : NO_SPREAD;
  const factor = dependence.standard_error_factor;
  const lines: Line[] = [
    ["Mean difference", <Quantity key="mean" value={difference.estimate} unit={unit} />],
    ["95 % interval: decides difference", limits(difference.ci95 as Pair | null)],
    ["90 % interval: decides equivalence", limits(difference.ci90 as Pair | null)],
    ["Margin", `±${formatNumber(Number(margin.value))}${after} (${String(margin.basis).replace("_", "-")})`],
    [
      "Correction for shared training data",
      factor === 1 ? "none" : `${dependence.correction}; standard error times ${formatNumber(factor)}`,
    ],
  ];
  if (naive) lines.push(["95 % interval without it", limits(naive.ci95 as Pair | null)]);
  return lines;
}

function doubtLines(verdict: Verdict): Line[] {
  const { non_inferiority: shown, difference, units_needed_for_80_percent_power: needed } = verdict;
  const [a, b] = verdict.models as [string, string];
  const inferior = (holds: boolean, p: number) => `${holds ? "shown" : "not shown"}, p ${pText(p)}`;
  return [
    [
      `${a} is not worse by the margin`,
      shown ? inferior(shown.a, shown.p_a) : "cannot be judged without spread",
    ],
    [
      `${b} is not worse by the margin`,
      shown ? inferior(shown.b, shown.p_b) : "cannot be judged without spread",
    ],
    [
      "Subjects to confirm equivalence, if there is no difference (80 % power)",
      needed === null ? "not known: no spread, or more than a million" : formatNumber(needed, 7),
    ],
    [
      "True coverage of a 95 % interval with so few subjects",
      difference.coverage_at_n === null ? "not simulated" : formatPercent(difference.coverage_at_n),
    ],
    [
      "A failure not seen here may still happen",
      `in up to ${formatPercent(verdict.failure_rate_upper_bound)} of subjects`,
    ],
  ];
}

function pText(p: number): string {
  const text = formatP(p);
  return text.startsWith("<") ? text : `= ${text}`;
}

/** What other methods would say. */
export function Sensitivity({ verdict }: { verdict: Verdict }) {
  const models = verdict.models as [string, string];
  const [a, b] = models;
  const verdicts = verdict.sensitivity.map((s) => s.verdict);
  return (
    <section class="card stack">
      <h2>Would another method say the same?</h2>
      <p>{agreementOfMethods(verdict.verdict, verdicts)}</p>
      <Table
        caption="Verdicts of other methods"
        captionHidden
        rows={verdict.sensitivity}
        keyOf={(row) => row.method}
        columns={[
          { title: "Method", cell: (row) => methodLabel(row.method) },
          { title: "Verdict", cell: (row) => <VerdictBadge verdict={row.verdict} models={models} /> },
          {
            title: "Because",
            cell: ({ probabilities: of, p_equivalence: equal, p_difference: differ }) =>
              of
                ? `probability that ${a} is better ${formatPercent(of.better_a)}, negligible ${formatPercent(of.negligible)}, ${b} better ${formatPercent(of.better_b)}`
                : `p of equivalence ${equal === null ? "none" : pText(equal)}, of difference ${differ === null ? "none" : pText(differ)}`,
          },
        ]}
      />
    </section>
  );
}

/** Standardised effects, for whoever compares studies. */
export function Effects({ verdict }: { verdict: Verdict }) {
  return (
    <section class="card">
      <details>
        <summary>Effect sizes</summary>
        <p class="soft">
          Their 95 % intervals take subjects as independent: they are not corrected for shared training data.
        </p>
        <Table
          caption="Effect sizes with 95 % intervals"
          captionHidden
          rows={verdict.effect_sizes}
          keyOf={(row) => row.name}
          columns={[
            { title: "Effect", cell: (row) => effectLabel(row.name) },
            {
              title: "Value",
              number: true,
              cell: (row) => (
                <Quantity
                  value={row.value}
                  unit=""
                  interval={row.ci95 as Pair | null}
                  reason={row.value === null ? "no spread" : undefined}
                />
              ),
            },
            { title: "Interval by", cell: (row) => row.method ?? "none" },
          ]}
        />
      </details>
    </section>
  );
}

/** Hashes, versions and seeds behind the verdict. */
export function Provenance({ verdict }: { verdict: Verdict }) {
  return (
    <section class="card">
      <details>
        <summary>Where the numbers come from</summary>
        {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a box that scrolls takes the keyboard's focus */}
        <pre tabIndex={0}>{JSON.stringify(verdict.provenance, null, 2)}</pre>
      </details>
    </section>
  );
}
