import type { PageRoute } from "../../ui/page_routes";

export const routes: PageRoute[] = [
  { path: "/plans", load: () => import("./PlansPage") },
  { path: "/plans/:id", load: () => import("./PlanPage") },
];
