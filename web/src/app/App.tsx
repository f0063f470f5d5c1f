import { Component, type ComponentChildren, type ComponentType } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { Route, Switch, useLocation } from "wouter-preact";
import { asProblem, type Problem } from "../api/problem";
import { Notice, ProblemNote } from "../ui/Notice";
import { PageHead } from "../ui/PageHead";
import type { PageProps, PageRoute } from "../ui/page_routes";
import { Shell } from "./Shell";

/** Every folder of pages/ says in routes.ts which paths it draws. */
const found = import.meta.glob<{ routes: PageRoute[] }>("../pages/*/routes.ts", { eager: true });
const ROUTES = Object.values(found).flatMap((module) => module.routes);

/** The viewer: the shell, and the page the URL names. */
export function App() {
  return (
    <Switch>
      {ROUTES.map((route) => (
        <Route key={route.path} path={route.path}>
          {(parameters: Record<string, string | undefined>) => (
            <Shell wide={route.wide ?? false}>
              <Page route={route} parameters={parameters} />
            </Shell>
          )}
        </Route>
      ))}
      <Route>
        <Shell wide={false}>
          <PageHead title="There is no such page" />
          <p>The address names nothing that Intima shows. Take one of the pages above.</p>
        </Shell>
      </Route>
    </Switch>
  );
}

function Page({ route, parameters }: { route: PageRoute; parameters: Record<string, string | undefined> }) {
  const [state, setState] = useState<{
    route: PageRoute;
    Shown: ComponentType<PageProps> | null;
    problem: Problem | null;
  }>({ route, Shown: null, problem: null });
  const [path] = useLocation();
  useFocusOnNewPage(path);
  useEffect(() => {
    let current = true;
    route
      .load()
      .then((module) => current && setState({ route, Shown: module.default, problem: null }))
      .catch((error: unknown) => current && setState({ route, Shown: null, problem: asProblem(error) }));
    return () => {
      current = false;
    };
  }, [route]);
  if (state.problem) return <ProblemNote problem={state.problem} onRetry={() => window.location.reload()} />;
  if (!state.Shown || state.route !== route) return <p role="status">Opening the page …</p>;
  return (
    <Guarded key={path}>
      <state.Shown parameters={parameters} />
    </Guarded>
  );
}

/** After a change of page the keyboard starts at its heading. */
function useFocusOnNewPage(path: string): void {
  const last = useRef(path);
  useEffect(() => {
    if (last.current === path) return;
    last.current = path;
    window.scrollTo(0, 0);
    document.querySelector<HTMLElement>("main h1")?.focus();
  }, [path]);
}

/** A page that breaks says so and leaves the rest standing. */
class Guarded extends Component<{ children: ComponentChildren }, { broken: string | null }> {
  override state = { broken: null };

  static getDerivedStateFromError(error: unknown) {
    return { broken: error instanceof Error ? error.message : String(error) };
  }

  override render() {
    if (this.state.broken === null) return this.props.children;
    return (
      <Notice tone="bad" title="This page broke">
        <p>
          A defect of the viewer: {this.state.broken}. Nothing was lost on the server. Load the page again; if
          it stays, tell us what you did.
        </p>
      </Notice>
    );
  }
}
