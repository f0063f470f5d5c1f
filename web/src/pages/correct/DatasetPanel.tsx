import { useState } from "preact/hooks";
import { getAll, sendJson } from "../../api/client";
import { useAction, useResource } from "../../api/resource";
import type { ApiShape, Segmentation, Slide } from "../../api/types";
import { formatNumber, formatQuantity } from "../../pure/format";
import { Button, ButtonLink } from "../../ui/Button";
import { Field } from "../../ui/Field";
import { Loaded } from "../../ui/Loading";
import { Notice, ProblemNote } from "../../ui/Notice";
import { Warnings } from "../../ui/Warnings";

type Made = ApiShape<"DatasetCreated">;

/** Make a data set of corrected masks: this one, and others. */
export function DatasetPanel({ slide, mpp, parent }: { slide: Slide; mpp: number | null; parent: string }) {
  const list = useResource("corrected masks", async (signal) =>
    newestOf(await getAll<Segmentation>("/v1/segmentations", signal, 500)),
  );
  return (
    <div class="stack">
      <p>
        A case is the slide at the pixel size of the model
        {mpp === null ? "" : ` (here ${formatQuantity(mpp, "µm")} per pixel)`} with its corrected mask. Folds
        are drawn by subject; images that show the same tissue are looked for. A data set keeps its images
        when a slide is deleted.
      </p>
      {slide.subject ? null : (
        <Notice tone="warn" title="This slide has no subject">
          <p>
            Without it nobody can draw fair folds, so it cannot go into a data set. Give the slide its
            subject.
          </p>
        </Notice>
      )}
      <Loaded of={list} what="corrected masks">
        {(found) =>
          found.length ? (
            <Form found={found} parent={parent} />
          ) : (
            <p>No mask was corrected yet: save a version first.</p>
          )
        }
      </Loaded>
    </div>
  );
}

/** Return the newest finished correction of each mask. */
function newestOf(all: readonly Segmentation[]): Segmentation[] {
  const newest = new Map<string, Segmentation>();
  for (const s of all) {
    const held = s.correction ? newest.get(s.correction.parent) : undefined;
    if (s.correction && s.result && (held?.correction?.number ?? 0) < s.correction.number)
      newest.set(s.correction.parent, s);
  }
  return [...newest.values()];
}

function Form({ found, parent }: { found: readonly Segmentation[]; parent: string }) {
  const [name, setName] = useState("");
  const [licence, setLicence] = useState("");
  const [chosen, setChosen] = useState<readonly string[]>(
    found.filter((s) => s.correction?.parent === parent).map((s) => s.id),
  );
  const make = useAction(() =>
    sendJson<Made>("POST", "/v1/datasets/from_corrections", { name, licence, segmentations: chosen }).then(
      setMade,
    ),
  );
  const [made, setMade] = useState<Made | null>(null);
  const toggle = (id: string) =>
    setChosen(chosen.includes(id) ? chosen.filter((one) => one !== id) : [...chosen, id]);
  return (
    <form
      class="stack"
      onSubmit={(e) => {
        e.preventDefault();
        void make.run();
      }}
    >
      <Field label="Name" required>
        {(ids) => (
          <input
            {...ids}
            type="text"
            required
            maxLength={200}
            value={name}
            onInput={(e) => setName(e.currentTarget.value)}
          />
        )}
      </Field>
      <Field label="Licence" required hint="Of images and masks, such as CC-BY-4.0, or “internal use only”.">
        {(ids) => (
          <input
            {...ids}
            type="text"
            required
            maxLength={200}
            value={licence}
            onInput={(e) => setLicence(e.currentTarget.value)}
          />
        )}
      </Field>
      <fieldset class="choices">
        <legend>Corrected masks ({formatNumber(chosen.length)} chosen)</legend>
        {found.map((s) => (
          <label key={s.id} class="choice">
            <input type="checkbox" checked={chosen.includes(s.id)} onChange={() => toggle(s.id)} />
            <span>
              {String(s.provenance.slide_name ?? s.slide)}, version {s.correction?.number}
              <span class="small soft">
                {" "}
                {s.provenance.subject ? `subject ${String(s.provenance.subject)}` : "no subject"}
              </span>
            </span>
          </label>
        ))}
      </fieldset>
      <div>
        <Button type="submit" look="primary" busy={make.running} disabled={!chosen.length}>
          Make the data set
        </Button>
      </div>
      <ProblemNote problem={make.problem} />
      {made ? (
        <Notice
          tone="good"
          title={`${name}: ${formatNumber(made.cases)} cases, ${formatNumber(made.subjects)} subjects`}
        >
          <Warnings of={made.warnings} />
          <ButtonLink compact href={`/datasets/${made.id}`}>
            See the data set
          </ButtonLink>
        </Notice>
      ) : null}
    </form>
  );
}
