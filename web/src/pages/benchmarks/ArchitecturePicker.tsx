import type { ApiShape } from "../../api/types";
import type { Json, JsonObject } from "../../pure/schema";
import { Button } from "../../ui/Button";
import { type FormContext, type PartProps, SchemaFields, wordsOf } from "../../ui/SchemaForm";

type Architecture = ApiShape<"ArchitectureView">;
type Weights = ApiShape<"WeightsView">;

export interface PickerProps {
  part: PartProps;
  form: FormContext;
  known: readonly Architecture[];
}

/** Which architectures compete: what there is, with start weights and licence, and what was chosen. */
export function ArchitecturePicker({ part, form, known }: PickerProps) {
  const chosen = (Array.isArray(part.value) ? part.value : []) as JsonObject[];
  const words = wordsOf(part, form);
  const set = (next: JsonObject[]) => part.onChange(next as Json);
  return (
    <fieldset class="card stack" style={{ margin: 0 }}>
      <legend>
        <h2>Architectures</h2>
      </legend>
      <p class="small soft">
        What competes. Each starts from its default encoder; where its weights are not installed here, the
        benchmark is refused unless it may start from random ones.
      </p>
      {words.wrong ? <p class="wrong">{words.wrong}</p> : null}
      <div class="architectures">
        {known.map((one) => (
          <ArchitectureLine
            key={one.name}
            of={one}
            chosen={chosen.some((c) => c.name === one.name)}
            onToggle={(on) =>
              set(on ? [...chosen, { name: one.name }] : chosen.filter((c) => c.name !== one.name))
            }
          />
        ))}
      </div>
      {chosen.length ? (
        <details>
          <summary>Encoder, weights and input of each, or one twice ({chosen.length} chosen)</summary>
          <div class="stack" style={{ marginTop: "0.75rem" }}>
            {chosen.map((wish, n) => (
              <Wish
                key={n}
                wish={wish}
                at={n}
                part={part}
                form={form}
                known={known.find((k) => k.name === wish.name)}
                onChange={(changed) =>
                  set(chosen.flatMap((old, at) => (at === n ? (changed ? [changed] : []) : [old])))
                }
                onTwice={() => set([...chosen, { ...wish, label: `${String(wish.name)} 2` }])}
              />
            ))}
          </div>
        </details>
      ) : null}
    </fieldset>
  );
}

function ArchitectureLine({
  of,
  chosen,
  onToggle,
}: {
  of: Architecture;
  chosen: boolean;
  onToggle: (on: boolean) => void;
}) {
  return (
    <label class={`architecture ${chosen ? "chosen" : ""}`}>
      <span class="row">
        <input type="checkbox" checked={chosen} onChange={(event) => onToggle(event.currentTarget.checked)} />
        <strong>{of.name}</strong>
      </span>
      <span class="small soft">
        {of.encoders[0]?.name ?? "own encoder"} at {of.input_px} px
        {of.has_prompts ? ", learned prompts" : ""}
      </span>
      <StartWeights weights={of.encoders[0]?.weights ?? []} />
    </label>
  );
}

/** Whether the default encoder starts from pretrained weights here, and under which licence. */
function StartWeights({ weights }: { weights: readonly Weights[] }) {
  const there = weights.find((w) => w.available);
  const first = there ?? weights[0];
  if (!first) return <span class="small soft">starts from random weights</span>;
  return (
    <span class="small">
      {there ? (
        <span class="badge good">✓ {first.kind} weights</span>
      ) : (
        <span class="badge warn">! {first.kind} weights not installed</span>
      )}{" "}
      <span class="soft">{first.licence}</span>
    </span>
  );
}

interface WishProps {
  wish: JsonObject;
  at: number;
  part: PartProps;
  form: FormContext;
  known: Architecture | undefined;
  onChange: (wish: JsonObject | null) => void;
  onTwice: () => void;
}

function Wish({ wish, at, part, form, known, onChange, onTwice }: WishProps) {
  const pointer = `${part.pointer}/${at}`;
  const named: FormContext = { ...form, custom: { [`${pointer}/name`]: () => null } };
  return (
    <fieldset class="schema-part">
      <legend>{String(wish.label ?? wish.name)}</legend>
      {form.wrong.get(pointer) ? <p class="wrong">{form.wrong.get(pointer)}</p> : null}
      <div class="schema-fields">
        <SchemaFields
          schema={part.schema.items ?? {}}
          value={wish}
          onChange={onChange}
          form={named}
          pointer={pointer}
        />
      </div>
      {known ? (
        <p class="small soft">
          Encoders: {known.encoders.map((e) => e.name).join(", ")}
          {known.any_timm_encoder ? ", or tu- with a name of timm" : ""}. Training of the encoder:{" "}
          {known.encoder_training.join(", ")}.
        </p>
      ) : null}
      <div class="row">
        <Button compact onClick={onTwice}>
          Once more, to change something
        </Button>
        <Button compact look="plain" onClick={() => onChange(null)}>
          Remove
        </Button>
      </div>
    </fieldset>
  );
}
