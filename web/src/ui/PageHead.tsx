import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";

/** The heading of a page, what it is about in a line, and its actions; it names the browser's tab too. */
export function PageHead({
  title,
  about,
  children,
}: {
  title: string;
  about?: ComponentChildren;
  children?: ComponentChildren;
}) {
  useEffect(() => {
    document.title = `${title} · Intima`;
  }, [title]);
  return (
    <div class="page-head">
      <div>
        <h1 tabIndex={-1}>{title}</h1>
        {about ? <div class="soft">{about}</div> : null}
      </div>
      {children ? <div class="actions">{children}</div> : null}
    </div>
  );
}
