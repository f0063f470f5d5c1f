import { Link } from "wouter-preact";
import { useApiCalls } from "../../api/calls";
import { useJson } from "../../api/resource";
import type { Benchmark, Page, Segmentation, Slide } from "../../api/types";
import { formatMoment } from "../../pure/format";
import { ButtonLink } from "../../ui/Button";
import { Loaded } from "../../ui/Loading";
import { PageHead } from "../../ui/PageHead";
import { StateBadge } from "../../ui/StateBadge";

const NEWEST = 5;

/** Where to begin, and what happened last. */
export default function HomePage() {
  const slides = useJson<Page<Slide>>(`/v1/slides?page_size=${NEWEST}`);
  const segmentations = useJson<Page<Segmentation>>(`/v1/segmentations?page_size=${NEWEST}`);
  const benchmarks = useJson<Page<Benchmark>>(`/v1/benchmarks?page_size=${NEWEST}`);
  useApiCalls([
    { title: "The newest slides", method: "GET", path: `/v1/slides?page_size=${NEWEST}` },
    { title: "The newest segmentations", method: "GET", path: `/v1/segmentations?page_size=${NEWEST}` },
    { title: "The newest benchmarks", method: "GET", path: `/v1/benchmarks?page_size=${NEWEST}` },
    { title: "Is everything well?", method: "GET", path: "/readyz" },
  ]);
  return (
    <>
      <PageHead
        title="Intima"
        about="Masks of arteries with their uncertainty, the numbers one publishes, and models compared as honestly as few sections allow."
      />
      <div class="grid">
        <section class="card stack">
          <h2>Measure slides</h2>
          <p>
            Upload sections, let a model outline lumen, neointima and media, see where it doubts, correct it,
            take the measures.
          </p>
          <div class="row">
            <ButtonLink href="/slides" look="primary">
              Upload slides
            </ButtonLink>
            <ButtonLink href="/review">What to look at first</ButtonLink>
          </div>
          <Loaded of={slides} what="slides">
            {(page) => (
              <List
                items={page.items.map((s) => ({
                  key: s.id,
                  href: `/slides/${s.id}`,
                  name: s.name,
                  at: s.created_at,
                }))}
                none="No slide yet."
              />
            )}
          </Loaded>
          <h3>Segmented last</h3>
          <Loaded of={segmentations} what="segmentations">
            {(page) => (
              <List
                items={page.items.map((s) => ({
                  key: s.id,
                  href: `/slides/${s.slide}?seg=${s.id}`,
                  name: s.model,
                  at: s.created_at,
                  state: s.state,
                }))}
                none="No segmentation yet."
              />
            )}
          </Loaded>
        </section>
        <section class="card stack">
          <h2>Compare models on your own sections</h2>
          <p>
            Cross-validate several networks on a data set of masks, subject by subject, and read what the
            scores can and cannot say.
          </p>
          <div class="row">
            <ButtonLink href="/benchmarks/new" look="primary">
              New benchmark
            </ButtonLink>
            <ButtonLink href="/datasets">Data sets</ButtonLink>
          </div>
          <Loaded of={benchmarks} what="benchmarks">
            {(page) => (
              <List
                items={page.items.map((b) => ({
                  key: b.id,
                  href: `/benchmarks/${b.id}`,
                  name: b.spec.architectures.map((a) => a.label ?? a.name).join(", "),
                  at: b.created_at,
                  state: b.state,
                }))}
                none="No benchmark yet."
              />
            )}
          </Loaded>
        </section>
        <section class="card stack">
          <h2>Decide</h2>
          <p>
            Different, equivalent, or cannot tell: fix the difference that does not matter first, then ask.
          </p>
          <div class="row">
            <ButtonLink href="/compare" look="primary">
              Compare two models
            </ButtonLink>
            <ButtonLink href="/planner">How many subjects?</ButtonLink>
            <ButtonLink href="/plans">Locked plans</ButtonLink>
          </div>
        </section>
      </div>
    </>
  );
}

interface Item {
  key: string;
  href: string;
  name: string;
  at: string;
  state?: string;
}

function List({ items, none }: { items: Item[]; none: string }) {
  if (!items.length) return <p class="soft">{none}</p>;
  return (
    <ul class="small" style={{ margin: 0, paddingLeft: "1.1rem" }}>
      {items.map((item) => (
        <li key={item.key}>
          <Link href={item.href}>{item.name}</Link> {item.state ? <StateBadge state={item.state} /> : null}{" "}
          <span class="soft">{formatMoment(item.at)}</span>
        </li>
      ))}
    </ul>
  );
}
