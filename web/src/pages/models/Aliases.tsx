import { useState } from "preact/hooks";
import { sendJson } from "../../api/client";
import { useAction } from "../../api/resource";
import type { ModelVersion } from "../../api/types";
import { announce } from "../../ui/announce";
import { Button } from "../../ui/Button";
import { Field } from "../../ui/Field";
import { ProblemNote } from "../../ui/Notice";

/** What this version is called, and a name more. */
export function Aliases({ model, onChanged }: { model: ModelVersion; onChanged: () => void }) {
  const [alias, setAlias] = useState("");
  const set = useAction(async () => {
    const path = `/v1/models/${encodeURIComponent(model.name)}/aliases/${encodeURIComponent(alias)}`;
    await sendJson<ModelVersion>("PUT", path, { version: model.version });
    announce(`${model.name}@${alias} now means ${model.version}.`);
    setAlias("");
    onChanged();
  });
  return (
    <section class="card stack" style={{ alignContent: "start" }}>
      <h2>Aliases</h2>
      <p class="small soft">
        A name that can move to a newer version: segmentations ask for {model.name}@production, and you decide
        what that is.
      </p>
      <div class="row">
        {model.aliases.length ? model.aliases.map((name) => <Alias key={name} name={name} />) : "None yet."}
      </div>
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          if (alias) void set.run();
        }}
      >
        <Field label="New alias" hint="If another version has it, it moves here.">
          {(ids) => (
            <input
              {...ids}
              type="text"
              value={alias}
              placeholder="production"
              onInput={(e) => setAlias(e.currentTarget.value.trim())}
            />
          )}
        </Field>
        <div>
          <Button type="submit" busy={set.running} disabled={alias === ""}>
            Set alias
          </Button>
        </div>
      </form>
      <ProblemNote problem={set.problem} />
    </section>
  );
}

/** A name that points at a version. */
export function Alias({ name }: { name: string }) {
  return <span class="badge">@{name}</span>;
}
