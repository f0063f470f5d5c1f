import type { ComponentType } from "preact";

export interface PageProps {
  /** What the path says: `id` of `/slides/:id`. */
  parameters: Record<string, string | undefined>;
}

export interface PageRoute {
  path: string;
  /** Take the whole window, without margins: the slide view. */
  wide?: boolean;
  load: () => Promise<{ default: ComponentType<PageProps> }>;
}
