import { useState } from "preact/hooks";
import { type ApiCall, useShownCalls } from "../api/calls";
import { getToken } from "../api/session";
import { asCurl, asPython } from "../pure/code";
import { announce } from "../ui/announce";
import { Button } from "../ui/Button";
import { Dialog } from "../ui/Dialog";

/** What the page shows and does, as the lines one would type. */
export function ApiDrawer({ open, onClose }: { open: boolean; onClose: () => void }) {
  const calls = useShownCalls();
  return (
    <Dialog title="Same by API" open={open} onClose={onClose} look="drawer">
      <p class="soft">
        Everything on this page is a call to the api. All operations, with their schemas:{" "}
        <a href="/docs">/docs</a>.
      </p>
      {calls.length === 0 ? <p>This page makes no call of its own.</p> : null}
      {calls.map((call) => (
        <Call key={call.title + call.method + call.path} call={call} />
      ))}
    </Dialog>
  );
}

function Call({ call }: { call: ApiCall }) {
  const withToken = getToken() !== null;
  const base = window.location.origin;
  return (
    <section class="stack" style={{ gap: "0.4rem" }} aria-label={call.title}>
      <h3>{call.title}</h3>
      <Snippet text={asCurl(call, base, withToken)} language="curl" />
      <Snippet text={asPython(call, base, withToken)} language="Python" />
    </section>
  );
}

function Snippet({ text, language }: { text: string; language: string }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    setCopied(true);
    announce(`${language} lines copied`);
    setTimeout(() => setCopied(false), 2000);
  };
  return (
    <div>
      <div class="row small">
        <span class="soft">{language}</span>
        <Button compact look="plain" onClick={() => void copy()} aria-label={`Copy the ${language} lines`}>
          {copied ? "Copied" : "Copy"}
        </Button>
      </div>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a box that scrolls takes the keyboard's focus */}
      <pre tabIndex={0}>{text}</pre>
    </div>
  );
}
