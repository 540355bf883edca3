/** @file Where training text comes from: one string, many documents, or anything that has documents (a `Corpus`). */

export type TextDocument = string | { readonly text: string };
type Documents = Iterable<TextDocument> | AsyncIterable<TextDocument>;
export type TextSource = string | Documents | { documents(): Documents };

/** The documents of a source, in order. A string is one document. */
export async function* documentsOf(source: TextSource): AsyncGenerator<string> {
  if (typeof source === "string") {
    yield source;
    return;
  }
  for await (const document of "documents" in source ? source.documents() : source) yield typeof document === "string" ? document : document.text;
}
