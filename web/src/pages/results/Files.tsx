import { download, query } from "../../api/client";
import { useAction } from "../../api/resource";
import type { Benchmark } from "../../api/types";
import { Button } from "../../ui/Button";
import { ProblemNote } from "../../ui/Notice";
import { type Question, reportQuery } from "./question";

/** Everything to take along. */
export function Files({ benchmark, question }: { benchmark: Benchmark; question: Question }) {
  const base = `/v1/benchmarks/${encodeURIComponent(benchmark.id)}`;
  const report = query(reportQuery(question));
  const files: [string, string, string, string][] = [
    [
      "Report (PDF)",
      "All protocols, figures and words, for a supplement.",
      `${base}/report.pdf${report}`,
      "report.pdf",
    ],
    [
      "Report (HTML)",
      "The same as one page that opens offline.",
      `${base}/report.html${report}`,
      "report.html",
    ],
    ["scores.csv", "Every score of every section, class and metric.", `${base}/scores.csv`, "scores.csv"],
    [
      "experiments.csv",
      "Every trial and fold: settings, curves, seconds.",
      `${base}/experiments.csv`,
      "experiments.csv",
    ],
    [
      "mlflow.zip",
      "The same for MLflow: unzip, then mlflow ui.",
      `${base}/experiments.mlflow.zip`,
      "experiments.mlflow.zip",
    ],
  ];
  return (
    <ul class="stack" style={{ listStyle: "none", margin: 0, padding: 0 }}>
      {files.map(([title, about, path, name]) => (
        <File key={name} title={title} about={about} path={path} name={`${benchmark.id}-${name}`} />
      ))}
    </ul>
  );
}

function File({ title, about, path, name }: { title: string; about: string; path: string; name: string }) {
  const save = useAction(() => download(path, name));
  return (
    <li class="stack" style={{ gap: "0.3rem" }}>
      <div class="row">
        <Button busy={save.running} onClick={() => void save.run()} style={{ minWidth: "11rem" }}>
          {title}
        </Button>
        <span>{about}</span>
      </div>
      <ProblemNote problem={save.problem} />
    </li>
  );
}
