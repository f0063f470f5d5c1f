import { useCallback, useEffect, useMemo, useState } from "preact/hooks";
import { Link } from "wouter-preact";
import { useApiCalls } from "../../api/calls";
import { getJson, query, remove } from "../../api/client";
import { useAction, useJson, useResource } from "../../api/resource";
import type { Page, Segmentation, Slide } from "../../api/types";
import { count } from "../../pure/format";
import { announce } from "../../ui/announce";
import { Button, ButtonLink } from "../../ui/Button";
import { Dialog } from "../../ui/Dialog";
import { Field } from "../../ui/Field";
import { Empty, Loaded } from "../../ui/Loading";
import { ProblemNote } from "../../ui/Notice";
import { PageHead } from "../../ui/PageHead";
import { useSettled } from "../../ui/settled";
import { useParameters } from "../../ui/url";
import { Batches } from "./Batches";
import { useTransfers } from "./queue";
import { SlideList } from "./SlideList";
import "./slides.css";
import { Uploads } from "./Uploads";

const PAGE_SIZE = 20;
const AGAIN_MS = 4000;
const MOST_IN_BATCH = 500;
const OPEN = ["queued", "validating", "running", "canceling"];

/** Bring slides in, find them again, segment them one by one or together. */
export default function SlidesPage() {
  const [parameters] = useParameters();
  const batches = parameters.get("view") === "batches";
  return (
    <>
      <PageHead
        title={batches ? "Batches" : "Slides"}
        about={
          batches ? "Slides that were segmented together." : "Scanned sections, and what was made of them."
        }
      />
      <nav class="tabs" aria-label="Slides or batches">
        <Link href="/slides" aria-current={batches ? undefined : "page"}>
          Slides
        </Link>
        <Link href="/slides?view=batches" aria-current={batches ? "page" : undefined}>
          Batches
        </Link>
      </nav>
      {batches ? <BatchesShown /> : <SlidesShown />}
    </>
  );
}

function BatchesShown() {
  useApiCalls([
    { title: "All batches", method: "GET", path: "/v1/batches" },
    { title: "Start what failed again", method: "POST", path: "/v1/batches/BATCH/retry" },
  ]);
  return <Batches />;
}

function SlidesShown() {
  const [parameters, setParameters] = useParameters();
  const search = parameters.get("search") ?? "";
  const token = parameters.get("page") ?? "";
  const path = `/v1/slides${query({ page_size: PAGE_SIZE, search, page_token: token })}`;
  const slides = useJson<Page<Slide>>(path);
  const newest = useNewest(slides.data?.items ?? []);
  const [chosen, choose] = useChosen();
  const [doomed, setDoomed] = useState<readonly Slide[]>([]);
  useReadAgainWhenStored(slides.reload);
  useApiCalls([
    { title: "These slides", method: "GET", path },
    {
      title: "Upload a slide",
      method: "POST",
      path: "/v1/slides",
      form: { file: "@slide.svs", mpp: "0.25", subject: "M1" },
    },
    { title: "Give a slide its pixel size", method: "PATCH", path: "/v1/slides/SLIDE", body: { mpp: 0.25 } },
    { title: "Uploads that may stop and go on (tus 1.0)", method: "GET", path: "/v1/uploads" },
  ]);
  return (
    <div class="stack">
      <Uploads onStored={slides.reload} />
      <Bar
        search={search}
        onSearch={(text) => setParameters({ search: text, page: null })}
        chosen={chosen}
        onNone={() => choose([...chosen], false)}
      />
      <Loaded of={slides} what="slides">
        {(page) =>
          page.items.length === 0 ? (
            <Nothing search={search} />
          ) : (
            <>
              <SlideList
                slides={page.items}
                newest={newest}
                chosen={chosen}
                onChoose={choose}
                onDelete={(slide) => setDoomed([slide])}
                onChanged={slides.reload}
              />
              <div class="row">
                {token ? <Button onClick={() => setParameters({ page: null }, "push")}>Newest</Button> : null}
                {page.next_page_token ? (
                  <Button onClick={() => setParameters({ page: page.next_page_token }, "push")}>Older</Button>
                ) : null}
              </div>
            </>
          )
        }
      </Loaded>
      <DeleteDialog
        slides={doomed}
        onClose={() => setDoomed([])}
        onGone={(ids) => {
          choose(ids, false);
          setDoomed([]);
          slides.reload();
        }}
      />
    </div>
  );
}

function useChosen(): [ReadonlySet<string>, (ids: readonly string[], on: boolean) => void] {
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const choose = useCallback((ids: readonly string[], on: boolean) => {
    setChosen((old) => {
      const next = new Set(old);
      for (const id of ids) on ? next.add(id) : next.delete(id);
      return next;
    });
  }, []);
  return [chosen, choose];
}

function useReadAgainWhenStored(reload: () => void): void {
  const stored = useTransfers().filter((t) => t.slide !== null).length;
  // biome-ignore lint/correctness/useExhaustiveDependencies: `stored` is what asks for another read
  useEffect(reload, [stored, reload]);
}

/** The newest mask of each slide shown, read again while one is in the making. */
function useNewest(slides: readonly Slide[]): Map<string, Segmentation> {
  const ids = slides.map((slide) => slide.id);
  const read = async (signal: AbortSignal) => {
    const pages = ids.map((slide) =>
      getJson<Page<Segmentation>>(`/v1/segmentations${query({ slide, page_size: 1 })}`, signal),
    );
    return (await Promise.all(pages)).flatMap((page) => page.items);
  };
  const found = useResource(ids.join() || null, read, {
    again: (newest) => (newest.some((s) => OPEN.includes(s.state)) ? AGAIN_MS : null),
  });
  return useMemo(() => new Map((found.data ?? []).map((s) => [s.slide, s])), [found.data]);
}

interface BarProps {
  search: string;
  onSearch: (text: string) => void;
  chosen: ReadonlySet<string>;
  onNone: () => void;
}

function Bar({ search, onSearch, chosen, onNone }: BarProps) {
  const [typed, setTyped] = useState(search);
  const settled = useSettled(typed);
  // biome-ignore lint/correctness/useExhaustiveDependencies: only what is typed changes the URL
  useEffect(() => {
    if (settled.trim() !== search) onSearch(settled.trim());
  }, [settled]);
  const most = chosen.size > MOST_IN_BATCH;
  return (
    <div class="row" style={{ alignItems: "end" }}>
      <Field label="Find by name or subject">
        {(ids) => (
          <input
            {...ids}
            type="search"
            value={typed}
            onInput={(event) => setTyped(event.currentTarget.value)}
          />
        )}
      </Field>
      <span class="row" style={{ marginLeft: "auto" }} aria-live="polite">
        {chosen.size ? (
          <>
            <span>{count(chosen.size, "slide")} chosen</span>
            <Button look="plain" onClick={onNone}>
              None
            </Button>
            {most ? (
              <span class="soft">at most {MOST_IN_BATCH} in one batch</span>
            ) : (
              <ButtonLink look="primary" href={`/segment?slides=${[...chosen].join(",")}`}>
                Segment {count(chosen.size, "slide")}
              </ButtonLink>
            )}
          </>
        ) : (
          <span class="soft small">Choose slides in the list to segment them together.</span>
        )}
      </span>
    </div>
  );
}

function Nothing({ search }: { search: string }) {
  if (search)
    return (
      <Empty title="Nothing found">
        <p>No slide has “{search}” in its name or subject.</p>
      </Empty>
    );
  return (
    <Empty title="No slide yet">
      <p>Drop scanned sections into the box above, or choose them with its button.</p>
    </Empty>
  );
}

interface DeleteProps {
  slides: readonly Slide[];
  onClose: () => void;
  onGone: (ids: readonly string[]) => void;
}

function DeleteDialog({ slides, onClose, onGone }: DeleteProps) {
  const erase = useAction(async () => {
    for (const slide of slides) await remove(`/v1/slides/${encodeURIComponent(slide.id)}`);
    announce("Deleted");
    onGone(slides.map((s) => s.id));
  });
  const close = () => {
    erase.clear();
    onClose();
  };
  return (
    <Dialog title="Delete for good?" open={slides.length > 0} onClose={close}>
      <p>
        <strong>{slides.map((s) => s.name).join(", ")}</strong>
      </p>
      <p>
        The slide goes, and with it all its masks, measures and corrections. Data sets and published models
        that were made of it stay. This cannot be undone; backups made earlier still hold it.
      </p>
      <ProblemNote problem={erase.problem} />
      <div class="row">
        <Button onClick={close}>Keep it</Button>
        <Button look="danger" busy={erase.running} onClick={() => void erase.run()}>
          Delete
        </Button>
      </div>
    </Dialog>
  );
}
