import { post } from "../api/client";
import { FINAL_STATES } from "../api/events";
import { useAction } from "../api/resource";
import type { Job } from "../api/types";
import { Button } from "./Button";

/** What one does to a job: cancel it, take it up again. `path` is the job's. */
export function useJobActions(path: string) {
  const cancel = useAction(() => post<Job>(`${path}/cancel`));
  const retry = useAction(() => post<Job>(`${path}/retry`).then(() => window.location.reload()));
  return { cancel, retry, problem: cancel.problem ?? retry.problem };
}

export interface JobButtonsProps {
  state: string;
  actions: ReturnType<typeof useJobActions>;
  /** Something is left to do although the job ended well. */
  incomplete?: boolean;
}

/** The buttons that a job in this state has. */
export function JobButtons({ state, actions, incomplete = false }: JobButtonsProps) {
  const { cancel, retry } = actions;
  return (
    <>
      {!FINAL_STATES.includes(state) ? (
        <Button
          look="danger"
          busy={cancel.running}
          disabled={state === "canceling"}
          onClick={() => void cancel.run()}
        >
          Cancel
        </Button>
      ) : null}
      {["failed", "canceled"].includes(state) || incomplete ? (
        <Button busy={retry.running} onClick={() => void retry.run()}>
          Take it up again
        </Button>
      ) : null}
    </>
  );
}
