/** What was painted and not saved, kept in this browser: a reload loses nothing. */
export interface Draft {
  /** The version it starts from. */
  base: string;
  png: Blob;
  note: string;
  /** RFC 3339. */
  at: string;
}

const [NAME, STORE] = ["intima-corrections", "drafts"];

/** Return the draft of a version; null where there is none, or this browser keeps none. */
export async function readDraft(base: string): Promise<Draft | null> {
  return (await within<Draft>("readonly", (store) => store.get(base))) ?? null;
}

/** Keep a draft; false where this browser does not. */
export async function keepDraft(draft: Draft): Promise<boolean> {
  return (await within("readwrite", (store) => store.put(draft, draft.base))) !== null;
}

export async function dropDraft(base: string): Promise<void> {
  await within("readwrite", (store) => store.delete(base));
}

/** Do one thing in the store; null where it cannot be done: private windows may have no store. */
async function within<T>(
  mode: IDBTransactionMode,
  act: (store: IDBObjectStore) => IDBRequest,
): Promise<T | null> {
  try {
    const opening = indexedDB.open(NAME, 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore(STORE);
    const database = (await settled(opening)) as IDBDatabase;
    try {
      return (await settled(act(database.transaction(STORE, mode).objectStore(STORE)))) as T;
    } finally {
      database.close();
    }
  } catch {
    return null;
  }
}

function settled(request: IDBRequest): Promise<unknown> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
