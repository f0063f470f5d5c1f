import { useApiCalls } from "../../api/calls";
import { query } from "../../api/client";
import { useJson } from "../../api/resource";
import type { StatsShape } from "../../api/types";
import { formatMoment, formatNumber } from "../../pure/format";
import { metricOf, protocolLabel, scoreLabel } from "../../pure/metrics";
import { ButtonLink } from "../../ui/Button";
import { Loaded } from "../../ui/Loading";
import { PageHead } from "../../ui/PageHead";
import type { PageProps } from "../../ui/page_routes";
import { Table } from "../../ui/Table";
import { VerdictBadge } from "../../ui/VerdictBadge";

type Plan = StatsShape<"Plan">;

/** One locked plan: what it fixes, and every comparison that was made under it. */
export default function PlanPage({ parameters }: PageProps) {
  const path = `/v1/plans/${encodeURIComponent(parameters.id ?? "")}`;
  const plan = useJson<Plan>(path);
  useApiCalls([
    { title: "This plan with its trail", method: "GET", path },
    {
      title: "Compare under it",
      method: "POST",
      path: "/v1/comparisons",
      body: {
        a: { benchmark: "bmk_...", architecture: plan.data?.content.models?.[0] ?? "unet" },
        b: { benchmark: "bmk_...", architecture: plan.data?.content.models?.[1] ?? "deeplabv3plus" },
        plan: parameters.id,
      },
    },
  ]);
  return (
    <Loaded of={plan} what="the plan">
      {(found) => (
        <>
          <PageHead
            title={`Plan: ${found.content.title || "untitled"}`}
            about={`Locked ${formatMoment(found.locked_at)}. It cannot be changed or removed.`}
          >
            <ButtonLink href="/plans">All plans</ButtonLink>
            <ButtonLink href={comparePath(found)} look="primary">
              Compare under this plan
            </ButtonLink>
          </PageHead>
          <div class="stack">
            <Content plan={found} />
            <Uses plan={found} />
          </div>
        </>
      )}
    </Loaded>
  );
}

/** The comparison with the sides of the last use, where they were of a benchmark. */
function comparePath({ id, uses }: Plan): string {
  const sides = uses[uses.length - 1]?.contenders ?? [];
  const side = (n: number) => (sides[n]?.startsWith("bmk_") ? sides[n] : null);
  return `/compare${query({ a: side(0), b: side(1), plan: id })}`;
}

function Content({ plan }: { plan: Plan }) {
  const { content } = plan;
  const { unit } = metricOf(content.metric);
  const lines: [string, string][] = [
    ["Models", content.models ? `a is ${content.models[0]}, b is ${content.models[1]}` : "any two"],
    ["Score", scoreLabel(content.metric, content.class)],
    ["Protocol", content.protocol ? protocolLabel(content.protocol) : "any"],
    [
      "Margin",
      `±${formatNumber(content.margin.value)}${unit ? ` ${unit}` : ""} (${content.margin.basis.replace("_", "-")})`,
    ],
    ["Alpha", formatNumber(content.alpha)],
    ["Seed", String(content.seed)],
    [
      "Left out, whatever their scores",
      content.exclusions.map((e) => `${e.subject} (${e.reason})`).join("; ") || "no subject",
    ],
    ["Hash (SHA-256)", plan.sha256],
    ["Id", plan.id],
  ];
  return (
    <section class="card">
      <h2>What it fixes</h2>
      <dl>
        {lines.map(([name, value]) => (
          <div key={name} style={{ display: "grid", gridTemplateColumns: "minmax(8rem, 14rem) 1fr" }}>
            <dt>{name}</dt>
            <dd style={{ overflowWrap: "anywhere" }}>{value}</dd>
          </div>
        ))}
      </dl>
    </section>
  );
}

function Uses({ plan }: { plan: Plan }) {
  if (plan.uses.length === 0)
    return (
      <section class="card">
        <h2>Uses</h2>
        <p>None yet. The first comparison under it opens the trail.</p>
      </section>
    );
  return (
    <section class="card stack">
      <h2>Uses</h2>
      <p class="soft">
        Each carries the hash of the one before it, so that none can be dropped or changed unseen. The same
        scores compared again are the same use.
      </p>
      <Table
        caption="Comparisons under this plan"
        captionHidden
        rows={plan.uses}
        keyOf={(use) => String(use.number)}
        columns={[
          { title: "Use", cell: (use) => use.number },
          { title: "When", cell: (use) => formatMoment(use.at) },
          { title: "Compared", cell: (use) => use.contenders.join(" against ") },
          {
            title: "Verdict",
            cell: (use) => <VerdictBadge verdict={use.verdict} models={use.models as [string, string]} />,
          },
          {
            title: "Standing",
            cell: (use) => (use.confirmatory ? "confirmatory" : `exploratory: ${use.reasons.join(" ")}`),
          },
          { title: "Hash", cell: (use) => <code>{use.sha256.slice(0, 12)}</code> },
        ]}
      />
    </section>
  );
}
