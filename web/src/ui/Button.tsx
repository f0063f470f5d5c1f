import type { ComponentChildren, JSX } from "preact";
import { Link } from "wouter-preact";

type Look = "primary" | "danger" | "plain" | "normal";

interface Shared {
  look?: Look;
  compact?: boolean;
  children?: ComponentChildren;
}

function classes(look: Look = "normal", compact = false, more = ""): string {
  return ["button", look === "normal" ? "" : look, compact ? "compact" : "", more].filter(Boolean).join(" ");
}

export type ButtonProps = Shared &
  Omit<JSX.IntrinsicElements["button"], "size" | "class" | "className"> & { className?: string };

/** A button; give `busy` while what it started runs. */
export function Button({
  look,
  compact,
  busy,
  className,
  children,
  disabled,
  ...rest
}: ButtonProps & { busy?: boolean }) {
  return (
    <button
      type="button"
      {...rest}
      disabled={disabled || busy}
      aria-busy={busy}
      class={classes(look, compact, className)}
    >
      {children}
      {busy ? <span aria-hidden="true">…</span> : null}
    </button>
  );
}

/** A link to a page of the viewer that looks like a button. */
export function ButtonLink({
  look,
  compact,
  children,
  href,
  className,
}: Shared & { href: string; className?: string }) {
  return (
    <Link href={href} class={classes(look, compact, className)}>
      {children}
    </Link>
  );
}
