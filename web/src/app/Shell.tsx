import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { Link, useLocation } from "wouter-preact";
import { setAnnouncer } from "../ui/announce";
import { Button } from "../ui/Button";
import { ApiDrawer } from "./ApiDrawer";
import { SignIn } from "./SignIn";
import { useTheme } from "./theme";

const PAGES: readonly [string, string][] = [
  ["/slides", "Slides"],
  ["/review", "Review"],
  ["/models", "Models"],
  ["/datasets", "Data sets"],
  ["/benchmarks", "Benchmarks"],
  ["/compare", "Compare"],
  ["/planner", "Plan"],
];

/** What stands around every page: where one is, the theme, who asks, and the page as calls. */
export function Shell({ children, wide }: { children: ComponentChildren; wide: boolean }) {
  const [path] = useLocation();
  const [theme, toggleTheme] = useTheme();
  const [callsShown, showCalls] = useState(false);
  return (
    <>
      <a class="skip" href="#main">
        To the content
      </a>
      <header class="topbar">
        <Link href="/" class="brand">
          <img src="/favicon.svg" alt="" width="24" height="24" /> Intima
        </Link>
        <nav aria-label="Pages">
          <ul>
            {PAGES.map(([href, label]) => (
              <li key={href}>
                <Link
                  href={href}
                  aria-current={path === href || path.startsWith(`${href}/`) ? "page" : undefined}
                >
                  {label}
                </Link>
              </li>
            ))}
          </ul>
        </nav>
        <div class="end">
          <Button compact onClick={() => showCalls(true)} title="This page as curl and Python">
            Same by API
          </Button>
          <SignIn />
          <Button
            compact
            look="plain"
            onClick={toggleTheme}
            aria-label={theme === "light" ? "Dark theme" : "Light theme"}
          >
            <span aria-hidden="true">{theme === "light" ? "☾" : "☀"}</span>
          </Button>
        </div>
      </header>
      <main id="main" class={wide ? "wide" : ""} tabIndex={-1}>
        {children}
      </main>
      <div class="hidden-text" role="status" aria-live="polite" ref={setAnnouncer} />
      <ApiDrawer open={callsShown} onClose={() => showCalls(false)} />
    </>
  );
}
