import { useState } from "preact/hooks";
import { sendJson } from "../../api/client";
import { asProblem, type Problem } from "../../api/problem";
import type { Slide } from "../../api/types";
import { count } from "../../pure/format";
import { fromScaleBar, readPixelSize } from "../../pure/transfers";
import { announce } from "../../ui/announce";
import { Button } from "../../ui/Button";
import { Field } from "../../ui/Field";
import { ProblemNote } from "../../ui/Notice";

/** Ask for the pixel size of slides whose files do not state one: each by itself, or the same for all. Nothing is filled in. */
export function PixelSizes({
  slides,
  onSaved,
}: {
  slides: readonly Slide[];
  onSaved: (slide: Slide) => void;
}) {
  const [typed, setTyped] = useState<Record<string, string>>({});
  const [problems, setProblems] = useState<Record<string, Problem>>({});
  const [all, setAll] = useState("");
  const [saving, setSaving] = useState(false);
  const [asked, setAsked] = useState(false);
  const given = slides.filter((s) => (typed[s.id] ?? "").trim());
  const save = async () => {
    setAsked(true);
    const ready = given.filter((s) => "mpp" in readPixelSize(typed[s.id] ?? ""));
    setSaving(true);
    for (const slide of ready) await saveOne(slide, typed[slide.id] ?? "", onSaved, setProblems);
    setSaving(false);
  };
  return (
    <form
      class="stack sizes"
      onSubmit={(event) => {
        event.preventDefault();
        void save();
      }}
    >
      <Explained />
      {slides.length > 1 ? (
        <SameForAll value={all} set={setAll} fill={() => setTyped(sameFor(slides, all))} />
      ) : null}
      <ul class="plain stack">
        {slides.map((slide) => (
          <li key={slide.id}>
            <OneSize
              slide={slide}
              value={typed[slide.id] ?? ""}
              asked={asked}
              problem={problems[slide.id] ?? null}
              onChange={(text) => setTyped((old) => ({ ...old, [slide.id]: text }))}
            />
          </li>
        ))}
      </ul>
      <div class="row">
        <Button type="submit" look="primary" busy={saving} disabled={given.length === 0}>
          {given.length > 1 ? `Save ${count(given.length, "pixel size")}` : "Save pixel size"}
        </Button>
        <span class="soft small">Recorded as given by you; the file stays as it is.</span>
      </div>
    </form>
  );
}

async function saveOne(
  slide: Slide,
  text: string,
  onSaved: (slide: Slide) => void,
  setProblems: (change: (old: Record<string, Problem>) => Record<string, Problem>) => void,
): Promise<void> {
  const read = readPixelSize(text);
  if (!("mpp" in read)) return;
  try {
    const body = { mpp: read.mpp };
    onSaved(await sendJson<Slide>("PATCH", `/v1/slides/${encodeURIComponent(slide.id)}`, body));
    announce(`${slide.name}: ${read.mpp} µm per pixel`);
  } catch (error) {
    setProblems((old) => ({ ...old, [slide.id]: asProblem(error) }));
  }
}

function sameFor(slides: readonly Slide[], text: string): Record<string, string> {
  return Object.fromEntries(slides.map((s) => [s.id, text]));
}

function SameForAll({ value, set, fill }: { value: string; set: (text: string) => void; fill: () => void }) {
  return (
    <div class="row" style={{ alignItems: "end" }}>
      <Field
        label="The same for all, µm per pixel"
        hint="Only if one scanner made them at one magnification."
      >
        {(ids) => (
          <input
            {...ids}
            inputMode="decimal"
            value={value}
            onInput={(event) => set(event.currentTarget.value)}
          />
        )}
      </Field>
      <Button onClick={fill} disabled={!("mpp" in readPixelSize(value))}>
        Fill in below
      </Button>
    </div>
  );
}

interface OneSizeProps {
  slide: Slide;
  value: string;
  asked: boolean;
  problem: Problem | null;
  onChange: (text: string) => void;
}

function OneSize({ slide, value, asked, problem, onChange }: OneSizeProps) {
  const read = readPixelSize(value);
  const wrong = asked && value.trim() && "wrong" in read ? read.wrong : undefined;
  return (
    <>
      <Field
        label={`${slide.name}: µm per pixel`}
        wrong={wrong}
        hint={"mpp" in read ? extent(slide, read.mpp) : `${slide.width} × ${slide.height} pixels`}
      >
        {(ids) => (
          <input
            {...ids}
            inputMode="decimal"
            value={value}
            onInput={(event) => onChange(event.currentTarget.value)}
          />
        )}
      </Field>
      <ProblemNote problem={problem} />
    </>
  );
}

/** What a size would mean, so that a slip of a factor of ten is seen. */
function extent(slide: Slide, mpp: number): string {
  const millimetres = (pixels: number) => Number(((pixels * mpp) / 1000).toPrecision(3));
  return `Then the picture shows ${millimetres(slide.width)} mm × ${millimetres(slide.height)} mm of tissue.`;
}

function Explained() {
  const [um, setUm] = useState("");
  const [px, setPx] = useState("");
  const found = fromScaleBar(um, px);
  return (
    <>
      <p>
        How many micrometres of tissue one pixel covers. Without it there is no length and no area, and models
        cannot bring the slide to their own resolution. It stands in the scan's settings or protocol; Intima
        never guesses it.
      </p>
      <details>
        <summary>Work it out from a scale bar</summary>
        <div class="row" style={{ alignItems: "end", marginTop: "0.4rem" }}>
          <Field label="The bar stands for, µm">
            {(ids) => (
              <input {...ids} inputMode="decimal" value={um} onInput={(e) => setUm(e.currentTarget.value)} />
            )}
          </Field>
          <Field label="and is long, pixels">
            {(ids) => (
              <input {...ids} inputMode="decimal" value={px} onInput={(e) => setPx(e.currentTarget.value)} />
            )}
          </Field>
          <output aria-live="polite">{found === null ? "µm ÷ pixels" : `${found} µm per pixel`}</output>
        </div>
        <p class="hint soft small">
          Measure the bar in the picture at full size, not in one that was scaled.
        </p>
      </details>
    </>
  );
}
