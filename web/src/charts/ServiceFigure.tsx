import type { ComponentChildren } from "preact";
import { useFigure } from "../api/answer";
import { saveBlob, sendForBlob } from "../api/client";
import { useAction } from "../api/resource";
import { Button } from "../ui/Button";
import { ProblemNote } from "../ui/Notice";

export interface ServiceFigureProps {
  /** Where it is drawn, without ".svg": "/v1/rankings/figures/cd_diagram". */
  path: string;
  body: object;
  caption: string;
  /** The same numbers. */
  table?: ComponentChildren;
}

/** A figure the stats service draws, on white paper, with its numbers beside it and its files to take along. */
export function ServiceFigure({ path, body, caption, table }: ServiceFigureProps) {
  const { url, problem } = useFigure(`${path}.svg`, body);
  const name = path.slice(path.lastIndexOf("/") + 1);
  const save = useAction(async (form: string) =>
    saveBlob(await sendForBlob(`${path}.${form}`, body), `${name}.${form}`),
  );
  return (
    <div class="grid" style={{ gridTemplateColumns: "repeat(auto-fit, minmax(min(100%, 28rem), 1fr))" }}>
      <figure class="chart stack" style={{ gap: "0.4rem", alignContent: "start" }}>
        <ProblemNote problem={problem} />
        <div class="paper" style={{ minHeight: "6rem", maxWidth: "44rem" }}>
          {url ? <img src={url} alt={caption} style={{ width: "100%", maxHeight: "30rem" }} /> : null}
        </div>
        <figcaption>{caption}</figcaption>
        <div class="row small">
          {["svg", "pdf", "csv"].map((form) => (
            <Button
              key={form}
              compact
              busy={save.running}
              aria-label={`Save ${name} as ${form.toUpperCase()}`}
              onClick={() => void save.run(form)}
            >
              {form.toUpperCase()}
            </Button>
          ))}
        </div>
        <ProblemNote problem={save.problem} />
      </figure>
      {table ? <div>{table}</div> : null}
    </div>
  );
}
