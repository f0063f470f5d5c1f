import { useEffect, useState } from "preact/hooks";
import { request } from "../api/client";
import { useAction } from "../api/resource";
import { getToken, isTokenWanted, onSession, setToken } from "../api/session";
import { Button } from "../ui/Button";
import { Dialog } from "../ui/Dialog";
import { Field } from "../ui/Field";
import { ProblemNote } from "../ui/Notice";

/** Ask for a token where the service wants one; say who is signed in, and let them leave. */
export function SignIn() {
  const session = useSession();
  const [open, setOpen] = useState(false);
  useEffect(() => setOpen(session.wanted), [session.wanted]);
  if (!session.wanted && !session.token) return null;
  if (session.token && !session.wanted)
    return (
      <Button compact look="plain" onClick={() => setToken(null)} title="Forget the token of this tab">
        Sign out
      </Button>
    );
  return (
    <>
      <Button compact look="primary" onClick={() => setOpen(true)}>
        Sign in
      </Button>
      <TokenDialog open={open} onClose={() => setOpen(false)} />
    </>
  );
}

function TokenDialog({ open, onClose }: { open: boolean; onClose: () => void }) {
  const [text, setText] = useState("");
  const check = useAction(async (token: string) => {
    await request("/v1/me", { headers: { Authorization: `Bearer ${token}` } });
    setToken(token);
    onClose();
  });
  const submit = (event: Event) => {
    event.preventDefault();
    if (text.trim()) void check.run(text.trim());
  };
  return (
    <Dialog title="Sign in" open={open} onClose={onClose}>
      <form class="stack" onSubmit={submit}>
        <p>
          This installation asks for a token. An administrator makes one with POST /v1/tokens. It is kept for
          this tab only.
        </p>
        <Field label="Token">
          {(ids) => (
            <input
              {...ids}
              type="password"
              autocomplete="off"
              value={text}
              onInput={(e) => setText(e.currentTarget.value)}
            />
          )}
        </Field>
        <ProblemNote problem={check.problem} />
        <div>
          <Button type="submit" look="primary" busy={check.running}>
            Sign in
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

const now = () => ({ token: getToken(), wanted: isTokenWanted() });

function useSession() {
  const [session, setSession] = useState(now);
  useEffect(() => onSession(() => setSession(now())), []);
  return session;
}
