import { Link } from "wouter-preact";
import { useApiCalls } from "../../api/calls";
import { useJson } from "../../api/resource";
import type { StatsShape } from "../../api/types";
import { count, formatMoment, formatNumber } from "../../pure/format";
import { metricOf, scoreLabel } from "../../pure/metrics";
import { Button, ButtonLink } from "../../ui/Button";
import { Empty, Loaded } from "../../ui/Loading";
import { PageHead } from "../../ui/PageHead";
import { Table } from "../../ui/Table";
import { useParameters } from "../../ui/url";
import { VerdictBadge } from "../../ui/VerdictBadge";

/** Every locked plan with what became of it. */
export default function PlansPage() {
  const [url, setUrl] = useParameters();
  const token = url.get("page") ?? "";
  const path = `/v1/plans?page_size=50${token ? `&page_token=${encodeURIComponent(token)}` : ""}`;
  const plans = useJson<StatsShape<"PlanList">>(path);
  useApiCalls([
    { title: "Locked plans", method: "GET", path },
    {
      title: "Lock a plan",
      method: "POST",
      path: "/v1/plans",
      body: { title: "My plan", metric: "dice", class: "macro", margin: { value: 0.02, basis: "stated" } },
    },
  ]);
  return (
    <>
      <PageHead
        title="Locked plans"
        about="What is compared, how, and with which margin: frozen under a hash and a time before scores were opened."
      >
        <ButtonLink href="/compare" look="primary">
          New plan
        </ButtonLink>
      </PageHead>
      <Loaded of={plans} what="plans">
        {(list) =>
          list.plans.length ? (
            <div class="stack">
              <Plans plans={list.plans} />
              {list.next_page_token ? (
                <div>
                  <Button onClick={() => setUrl({ page: list.next_page_token }, "push")}>Older plans</Button>
                </div>
              ) : null}
            </div>
          ) : (
            <Empty title="No plan is locked yet">
              <p>
                Fill in a comparison, then lock it before there are scores. Only then can its verdict be
                called confirmatory.
              </p>
              <ButtonLink href="/compare">To the comparison</ButtonLink>
            </Empty>
          )
        }
      </Loaded>
    </>
  );
}

function Plans({ plans }: { plans: readonly StatsShape<"Plan">[] }) {
  return (
    <Table
      caption="Locked plans, newest first"
      captionHidden
      rows={plans}
      keyOf={(plan) => plan.id}
      columns={[
        {
          title: "Plan",
          cell: (plan) => <Link href={`/plans/${plan.id}`}>{plan.content.title || "untitled"}</Link>,
        },
        { title: "Models", cell: (plan) => plan.content.models?.join(" against ") ?? "any two" },
        { title: "Score", cell: (plan) => scoreLabel(plan.content.metric, plan.content.class) },
        {
          title: "Margin",
          number: true,
          cell: ({ content }) =>
            `±${formatNumber(content.margin.value)} ${metricOf(content.metric).unit}`.trim(),
        },
        { title: "Locked", cell: (plan) => formatMoment(plan.locked_at) },
        { title: "Used", cell: (plan) => (plan.uses.length ? count(plan.uses.length, "time") : "not yet") },
        {
          title: "Last verdict",
          cell: ({ uses }) => {
            const last = uses[uses.length - 1];
            return last ? (
              <VerdictBadge verdict={last.verdict} models={last.models as [string, string]} />
            ) : (
              "none"
            );
          },
        },
      ]}
    />
  );
}
