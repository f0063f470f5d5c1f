import type { PageRoute } from "../../ui/page_routes";

export const routes: PageRoute[] = [{ path: "/compare", load: () => import("./ComparePage") }];
