import type { PageRoute } from "../../ui/page_routes";

export const routes: PageRoute[] = [{ path: "/jobs/:id", load: () => import("./JobPage") }];
