import type { PageRoute } from "../../ui/page_routes";

export const routes: PageRoute[] = [{ path: "/planner", load: () => import("./PlannerPage") }];
