import type { PageRoute } from "../../ui/page_routes";

export const routes: PageRoute[] = [{ path: "/benchmarks/:id/results", load: () => import("./ResultsPage") }];
