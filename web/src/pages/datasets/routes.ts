import type { PageRoute } from "../../ui/page_routes";

export const routes: PageRoute[] = [
  { path: "/datasets", load: () => import("./DatasetsPage") },
  { path: "/datasets/:id", load: () => import("./DatasetPage") },
];
