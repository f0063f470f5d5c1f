import type { PageRoute } from "../../ui/page_routes";

export const routes: PageRoute[] = [
  { path: "/models", load: () => import("./ModelsPage") },
  { path: "/models/:name/:version", load: () => import("./ModelPage") },
];
