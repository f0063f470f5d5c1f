import type { PageRoute } from "../../ui/page_routes";

export const routes: PageRoute[] = [
  { path: "/slides/:id/correct/:seg", wide: true, load: () => import("./CorrectPage") },
];
