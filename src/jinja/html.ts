/** @file HTML's escapes, as MarkupSafe and html.unescape know them. */

import { unsupported } from "./errors.js";
import { askText } from "./meter.js";

const escapes: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", "'": "&#39;", '"': "&#34;" };

export function escapeHtml(text: string): string {
  askText(text.length);
  const escaped = text.replace(/[&<>'"]/g, (character) => escapes[character]);
  askText(escaped.length - text.length);
  return escaped;
}

const named: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0", raquo: "»", laquo: "«", copy: "©", hellip: "…", mdash: "—", ndash: "–" };

/** html.unescape(), for the entities above and numbers. */
export function unescapeHtml(text: string): string {
  return text.replace(/&(#\d+;|#[xX][0-9a-fA-F]+;|[a-zA-Z][a-zA-Z0-9]*;?|#)/g, (whole, entity: string) => {
    const name = /^([a-zA-Z0-9]+);$/.exec(entity)?.[1];
    if (name !== undefined && Object.hasOwn(named, name)) return named[name];
    const number = /^#(?:(\d+)|[xX]([0-9a-fA-F]+));$/.exec(entity);
    const code = number === null ? NaN : number[1] !== undefined ? Number(number[1]) : parseInt(number[2], 16);
    if (code >= 32 && code < 0xd800 && (code < 127 || code > 159)) return String.fromCodePoint(code);
    return unsupported(`the HTML entity ${whole}`);
  });
}
