import { useState } from "preact/hooks";
import { getJson } from "../../api/client";
import { useJson, useResource } from "../../api/resource";
import type { ApiShape, Benchmark, Dataset } from "../../api/types";
import { count } from "../../pure/format";
import { CasePicture } from "../../ui/CasePicture";
import { Loaded } from "../../ui/Loading";

const MOST_SHOWN = 12;

/** Which images are tested in which fold, as pictures; read when opened. */
export function Folds({ benchmark }: { benchmark: Benchmark }) {
  const [opened, setOpened] = useState(false);
  return (
    <details class="card" onToggle={(event) => setOpened(event.currentTarget.open)}>
      <summary>Folds: which subjects are tested when</summary>
      {opened ? <Splits benchmark={benchmark} /> : null}
    </details>
  );
}

function Splits({ benchmark }: { benchmark: Benchmark }) {
  const names = protocolsOf(benchmark);
  const dataset = useJson<Dataset>(`/v1/datasets/${encodeURIComponent(benchmark.dataset)}`);
  const splits = useResource(`${benchmark.id} splits ${names.join()}`, (signal) =>
    Promise.all(
      names.map((name) =>
        getJson<ApiShape<"SplitUpload">>(
          `/v1/benchmarks/${encodeURIComponent(benchmark.id)}/splits?protocol=${encodeURIComponent(name)}`,
          signal,
        ).then((found) => ({ name, splits: found.splits ?? [] })),
      ),
    ),
  );
  return (
    <Loaded of={dataset} what="the data set">
      {(data) => (
        <Loaded of={splits} what="the folds">
          {(found) => (
            <div class="stack" style={{ marginTop: "0.6rem" }}>
              {found.flatMap(({ name, splits: list }) =>
                list
                  .slice(0, MOST_SHOWN)
                  .map((split, n) => (
                    <Fold
                      key={`${name} ${n}`}
                      title={`${name}${split.repeat ? `, repeat ${split.repeat}` : ""}, fold ${split.fold}`}
                      test={split.test}
                      dataset={data}
                    />
                  )),
              )}
            </div>
          )}
        </Loaded>
      )}
    </Loaded>
  );
}

function Fold({ title, test, dataset }: { title: string; test: readonly string[]; dataset: Dataset }) {
  const cases = dataset.cases.filter((c) => test.includes(c.case));
  return (
    <section aria-label={title}>
      <h3>
        {title}{" "}
        <span class="soft small">
          tested on {[...new Set(cases.map((c) => c.subject))].join(", ")}; trained on{" "}
          {count(dataset.cases.length - cases.length, "image")} of the others
        </span>
      </h3>
      <div class="cases">
        {cases.slice(0, MOST_SHOWN).map((c) => (
          <CasePicture key={c.case} dataset={dataset.id} of={c} px={192} mask={0.4} />
        ))}
      </div>
    </section>
  );
}

/** The names of a benchmark's protocols, as its studies have them. */
function protocolsOf(benchmark: Benchmark): string[] {
  const inStudies = benchmark.studies
    .map((s) => s.study.split("/")[1] ?? "")
    .filter((p) => p && p !== "final");
  const scored = benchmark.leaderboard.map((e) => e.protocol).filter((p) => p !== "external");
  return [...new Set([...inStudies, ...scored])];
}
