import type { PageRoute } from "../../ui/page_routes";

export const routes: PageRoute[] = [{ path: "/slides", load: () => import("./SlidesPage") }];
