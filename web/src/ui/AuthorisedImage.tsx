import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { getBlob } from "../api/client";
import { asProblem, type Problem } from "../api/problem";
import { getToken } from "../api/session";

type ImageProps = Omit<JSX.IntrinsicElements["img"], "src" | "alt"> & { src: string; alt: string };

/** An image of the api. With a token it is fetched with the header, since an img element sends none. */
export function AuthorisedImage({ src, alt, ...rest }: ImageProps) {
  const [shown, setShown] = useState<{ src: string; url: string | null; problem: Problem | null }>({
    src,
    url: null,
    problem: null,
  });
  useEffect(() => {
    const stop = new AbortController();
    let made: string | null = null;
    const read = getToken()
      ? getBlob(src, stop.signal).then((blob) => (made = URL.createObjectURL(blob)))
      : Promise.resolve(src);
    read
      .then((url) => stop.signal.aborted || setShown({ src, url, problem: null }))
      .catch(
        (error: unknown) => stop.signal.aborted || setShown({ src, url: null, problem: asProblem(error) }),
      );
    return () => {
      stop.abort();
      if (made) URL.revokeObjectURL(made);
    };
  }, [src]);
  if (shown.src === src && shown.problem)
    return <span class="soft small">No picture: {shown.problem.detail}</span>;
  return <img {...rest} alt={alt} {...(shown.src === src && shown.url ? { src: shown.url } : {})} />;
}
