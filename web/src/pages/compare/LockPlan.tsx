import { useState } from "preact/hooks";
import { sendJson } from "../../api/client";
import { useAction } from "../../api/resource";
import type { StatsShape } from "../../api/types";
import { announce } from "../../ui/announce";
import { Button } from "../../ui/Button";
import { Field } from "../../ui/Field";
import { ProblemNote } from "../../ui/Notice";
import { useParameters } from "../../ui/url";
import { planBody, type Question } from "./question";

export interface LockPlanProps {
  question: Question;
  ready: boolean;
  onLocked: () => void;
}

/** Freeze the question under a hash, before scores are opened. */
export function LockPlan({ question, ready, onLocked }: LockPlanProps) {
  const [, setUrl] = useParameters();
  const [title, setTitle] = useState("");
  const [open, setOpen] = useState(false);
  const lock = useAction(async () => {
    const made = await sendJson<StatsShape<"Plan">>("POST", "/v1/plans", planBody(question, title));
    announce("The plan is locked.");
    onLocked();
    setUrl({ plan: made.id, ask: null }, "push");
  });
  if (!open)
    return (
      <Button disabled={!ready} onClick={() => setOpen(true)}>
        Lock this as a plan …
      </Button>
    );
  return (
    <div class="card stack" style={{ flexBasis: "100%" }}>
      <p>
        Locking freezes models, metric, class, margin and alpha under a hash and a time. Only a plan that was
        locked before the scores existed makes a verdict confirmatory; one locked now, over scores that exist,
        stays exploratory and says so. A locked plan cannot be changed or removed.
      </p>
      <Field label="Title of the plan">
        {(ids) => (
          <input
            {...ids}
            type="text"
            maxLength={500}
            value={title}
            onInput={(e) => setTitle(e.currentTarget.value)}
          />
        )}
      </Field>
      <div class="row">
        <Button look="primary" busy={lock.running} onClick={() => void lock.run()}>
          Lock the plan
        </Button>
        <Button onClick={() => setOpen(false)}>Not now</Button>
      </div>
      <ProblemNote problem={lock.problem} />
    </div>
  );
}
