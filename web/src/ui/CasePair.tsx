import type { Dataset } from "../api/types";
import { coverOf, turnInWords } from "../pure/likeness";
import { CasePicture, type StoredCase } from "./CasePicture";

/** How two images lie on each other, as the comparison at import has found. */
export interface Alike {
  score: number;
  share: number;
  view: number;
  offset_px: readonly number[];
}

export interface CasePairProps {
  a: string;
  b: string;
  /** What links them: subject, block, same_file, near_duplicate or overlap. */
  kind: string;
  alike: Alike | null;
  datasetA: Dataset;
  datasetB: Dataset;
}

const KINDS: Record<string, string> = {
  subject: "Two images of one subject",
  block: "Two images of one block, under two subjects",
  same_file: "The same file",
  near_duplicate: "The same picture, changed a little",
  overlap: "The same tissue: the fields of view overlap",
};

/** Two cases that belong together, side by side, with what they share outlined. */
export function CasePair({ a, b, kind, alike, datasetA, datasetB }: CasePairProps) {
  const first = datasetA.cases.find((c) => c.case === a);
  const second = datasetB.cases.find((c) => c.case === b);
  if (!first || !second)
    return (
      <p>
        {a} and {b}: one of them is not in the data set any more.
      </p>
    );
  const shared = alike && kind === "overlap" ? coverOf(first, second, corner(alike), alike.view) : undefined;
  return (
    <section class="card stack" aria-label={`${a} and ${b}`}>
      <div>
        <strong>{KINDS[kind] ?? kind}</strong>
        {alike ? <span class="soft small"> {inWords(alike)}</span> : null}
      </div>
      <div class="pair">
        <Side dataset={datasetA.id} of={first} outlined={shared} />
        <Side dataset={datasetB.id} of={second} view={alike?.view ?? 0} />
      </div>
    </section>
  );
}

function Side({
  dataset,
  of,
  view = 0,
  outlined,
}: {
  dataset: string;
  of: StoredCase;
  view?: number;
  outlined?: ReturnType<typeof coverOf> | undefined;
}) {
  return (
    <figure>
      <CasePicture dataset={dataset} of={of} px={512} view={view} outlined={outlined} />
      <figcaption>
        <strong>{of.subject}</strong> <span class="soft">{of.case}</span>
        {view ? <span class="soft"> (shown {turnInWords(view)}, as it lies on the other)</span> : null}
      </figcaption>
    </figure>
  );
}

function corner(alike: Alike): [number, number] {
  return [alike.offset_px[0] ?? 0, alike.offset_px[1] ?? 0];
}

function inWords(alike: Alike): string {
  const covered = `${Math.round(100 * alike.share)} % of the smaller one`;
  return `Agreement of fine detail ${alike.score.toFixed(2)} of 1, over ${covered}.`;
}
