/** The token of this tab. It is kept for the tab only, is sent in a header, and never stands in a URL. */
const KEY = "intima-token";
type Listener = () => void;
const listeners = new Set<Listener>();
let wanted = false;

export function getToken(): string | null {
  return sessionStorage.getItem(KEY);
}

/** Keep a token for this tab, or forget it. */
export function setToken(token: string | null): void {
  if (token) sessionStorage.setItem(KEY, token);
  else sessionStorage.removeItem(KEY);
  wanted = false;
  tell();
}

/** Say that the server asked for a token (401). */
export function askForToken(): void {
  if (wanted) return;
  wanted = true;
  tell();
}

export function isTokenWanted(): boolean {
  return wanted;
}

export function onSession(listener: Listener): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Return the headers that say who asks. */
export function authorization(): Record<string, string> {
  const token = getToken();
  return token ? { Authorization: `Bearer ${token}` } : {};
}

function tell(): void {
  for (const listener of listeners) listener();
}
