import type { ComponentChildren } from "preact";
import type { Resource } from "../api/resource";
import { ProblemNote } from "./Notice";

/** What a resource has: its data drawn by `children`, what went wrong, or that it is being read. */
export function Loaded<T>({
  of,
  children,
  what,
}: {
  of: Resource<T>;
  what: string;
  children: (data: T) => ComponentChildren;
}) {
  return (
    <>
      <ProblemNote problem={of.problem} onRetry={of.reload} />
      {of.data !== null ? children(of.data) : of.loading ? <p role="status">Reading {what} …</p> : null}
    </>
  );
}

/** What stands where a list has nothing yet: say how to get the first. */
export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="card">
      <h2>{title}</h2>
      {children}
    </div>
  );
}
