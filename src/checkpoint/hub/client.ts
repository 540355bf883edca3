/**
 * @file Requests to the hub: with the user's token, through the user's proxy, again where that may help, and with an error that says what
 * to do where it does not.
 *
 * The hub's API is spoken by `@huggingface/hub`, to which `fetch` is given; it sees only answers that are good, whole and of bounded size. The
 * token goes to the hub's own origin alone: fetch drops it where a redirect leads elsewhere (to the storage), and an address of
 * another origin that the API names itself (the next page of a list) is refused.
 *
 * Node's own fetch knows no proxy before Node 24, hence undici, which it is made of.
 */

import { setTimeout as sleep } from "node:timers/promises";
import { Agent, ProxyAgent, fetch as undiciFetch, type Dispatcher } from "undici";
import { HubError } from "../../errors.js";

export interface HubClientOptions {
  /** The hub's address; default `$HF_ENDPOINT`, or https://huggingface.co. */
  readonly hubUrl?: string | undefined;
  /** Default `$HF_TOKEN`. */
  readonly token?: string | undefined;
  /** How long the other side may say nothing, in milliseconds. Default 60,000. */
  readonly timeout?: number | undefined;
  /** How often something is tried again. Default 5. */
  readonly retries?: number | undefined;
  /** The wait before the first of them, doubled each time, in milliseconds; what the server asks for (Retry-After) counts instead. Default 1000. */
  readonly retryDelay?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** A word about what happens: another try, a wait. */
  readonly onNotice?: ((text: string) => void) | undefined;
}

/** What is being asked for, so that an error can name it. */
export interface Subject {
  readonly repo: string;
  readonly revision: string;
  readonly file?: string;
}

const maxAnswerBytes = 64 << 20;
const maxWait = 60_000;

export class HubClient {
  readonly hubUrl: string;
  readonly retries: number;
  readonly #token: string | undefined;
  readonly #retryDelay: number;
  readonly #signal: AbortSignal | undefined;
  readonly #dispatcher: Dispatcher;
  readonly #notice: (text: string) => void;

  /** Throws HubError `bad-address`. */
  constructor(options: HubClientOptions = {}) {
    const address = options.hubUrl ?? setting("HF_ENDPOINT") ?? "https://huggingface.co";
    if (!/^https?:$/.test(parseAddress(address)?.protocol ?? "")) {
      throw new HubError(`${JSON.stringify(address)} is no address of a hub.`, { code: "bad-address", hint: "HF_ENDPOINT is https://HOST." });
    }
    this.hubUrl = address.replace(/\/+$/, "");
    this.retries = options.retries ?? 5;
    this.#token = options.token ?? setting("HF_TOKEN");
    this.#retryDelay = options.retryDelay ?? 1000;
    this.#signal = options.signal;
    this.#notice = options.onNotice ?? (() => undefined);
    this.#dispatcher = dispatcherFor(options.timeout ?? 60_000);
  }

  /** A `fetch` for `@huggingface/hub`: good answers only, read whole; throws HubError for all others. */
  fetchFor(subject: Subject): typeof fetch {
    return async (input, init) => {
      const url = new URL(input instanceof Request ? input.url : input);
      if (url.origin !== new URL(this.hubUrl).origin) {
        throw new HubError(`The hub names an address that is not its own: ${url.origin}. It was not asked.`, { code: "bad-response" });
      }
      const answer = await this.request(url, subject, new Headers(init?.headers));
      return new Response(await this.#whole(answer), { status: answer.status, headers: answer.headers });
    };
  }

  /**
   * GET, with redirects followed. Only answers of 2xx come back, and 416 (a range past the end).
   *
   * @param patient also waits for a host that cannot be reached to come back, as in the middle of a long download
   * @throws HubError: see `refusal` and `unreachable` for its codes; the signal's reason
   */
  async request(url: URL, subject: Subject, headers: Headers, patient = false): Promise<Response> {
    headers.set("user-agent", "hornbook");
    if (this.#token !== undefined && url.origin === new URL(this.hubUrl).origin) headers.set("authorization", `Bearer ${this.#token}`);
    for (let attempt = 1; ; attempt++) {
      let error: HubError;
      let wait: number | undefined;
      try {
        const response = await undiciFetch(url, { headers: [...headers], dispatcher: this.#dispatcher, ...(this.#signal && { signal: this.#signal }) });
        if (response.ok || response.status === 416) return response;
        await response.body?.cancel();
        error = this.#refusal(response, subject);
        if (!isTemporary(response.status)) throw error;
        wait = retryAfter(response.headers.get("retry-after"));
      } catch (cause) {
        this.#signal?.throwIfAborted();
        if (cause instanceof HubError) throw cause;
        error = unreachable(url, cause);
        if (!isPassing(cause) && !(patient && error.code === "offline")) throw error;
      }
      if (attempt > this.retries) throw error;
      await this.pause(attempt, error.message, wait);
    }
  }

  /** Waits before another try, and says why. */
  async pause(attempt: number, why: string, asked?: number): Promise<void> {
    const wait = Math.min(maxWait, asked ?? this.#retryDelay * 2 ** (attempt - 1));
    this.#notice(`${why} Trying again in ${Math.ceil(wait / 1000)} s (${attempt} of ${this.retries}).`);
    await sleep(wait, undefined, this.#signal && { signal: this.#signal }).catch(() => this.#signal?.throwIfAborted());
  }

  async close(): Promise<void> {
    await this.#dispatcher.destroy();
  }

  async #whole(response: Response): Promise<Uint8Array<ArrayBuffer>> {
    const parts: Uint8Array[] = [];
    let bytes = 0;
    try {
      for await (const part of bodyOf(response)) {
        parts.push(part);
        bytes += part.length;
        if (bytes > maxAnswerBytes) throw new HubError(`The hub's answer has more than ${maxAnswerBytes} bytes, which no list of files has.`, { code: "bad-response" });
      }
    } catch (cause) {
      this.#signal?.throwIfAborted();
      throw cause instanceof HubError ? cause : new HubError("The hub's answer was cut short.", { code: "download-cut", hint: "Try again.", cause });
    }
    return new Uint8Array(Buffer.concat(parts));
  }

  /** An answer that is a refusal, in words. What the hub means stands in X-Error-Code; the status alone is ambiguous on purpose (a private repository is hidden as if absent). */
  #refusal({ status, headers }: Response, { repo, revision, file }: Subject): HubError {
    const code = headers.get("x-error-code");
    const host = new URL(this.hubUrl).host;
    const page = `${this.hubUrl}/${repo}`;
    const token = this.#token === undefined ? `make a token at ${this.hubUrl}/settings/tokens and set HF_TOKEN to it` : "use a token (HF_TOKEN) of an account that has it";
    const error = (code: string, message: string, hint: string): HubError => new HubError(message, { code, hint, status });
    if (code === "GatedRepo") {
      return error("gated", `${repo} is gated: its authors ask who you are before they give it.`, `Ask for access at ${page} in a browser, then ${token}.`);
    }
    if (code === "RevisionNotFound") return error("no-such-revision", `${repo} has no revision ${JSON.stringify(revision)}.`, `Its branches and tags are at ${page}/tree/main.`);
    if (code === "EntryNotFound" || (status === 404 && file !== undefined)) return error("no-such-file", `${repo} has no file ${JSON.stringify(file ?? "")} at ${revision}.`, `Its files are at ${page}/tree/main.`);
    if (status === 401 && this.#token !== undefined && code !== "RepoNotFound") return error("unauthorized", `${host} does not accept the token in HF_TOKEN.`, `It may have run out: make a new one at ${this.hubUrl}/settings/tokens, or unset it.`);
    if (code === "RepoNotFound" || status === 401 || status === 404) {
      return error("no-such-repository", `${host} has no model ${repo}, or it is private.`, `Check the name; if it is private, ${token}.`);
    }
    if (status === 403) return error("forbidden", `${host} does not give out ${repo} (403${said(headers)}).`, `Ask for access at ${page} in a browser, then ${token}.`);
    if (status === 429) return error("rate-limited", `${host} says that there are too many requests (429).`, "Wait some minutes; with a token (HF_TOKEN) more are allowed.");
    if (status >= 500) return error("server-error", `${host} has trouble of its own (${status}).`, "Try again later.");
    return error("bad-response", `${host} answers ${status}${said(headers)}.`, "Is HF_ENDPOINT a hub?");
  }
}

/** The parts of an answer as they come. */
export function bodyOf(response: Response): AsyncIterable<Uint8Array> {
  return (response.body ?? []) as AsyncIterable<Uint8Array>;
}

function setting(name: string): string | undefined {
  const value = process.env[name]?.trim();
  return value === "" ? undefined : value;
}

function parseAddress(address: string): URL | undefined {
  return URL.canParse(address) ? new URL(address) : undefined;
}

/** What the server adds in words, without anything that could move a cursor. */
function said(headers: Headers): string {
  const words = headers.get("x-error-message")?.replace(/[^\x20-\x7e]/g, " ").slice(0, 200);
  return words === undefined ? "" : `: ${words}`;
}

const isTemporary = (status: number): boolean => status === 408 || status === 429 || status >= 500;

/** Seconds or a date, as milliseconds. */
function retryAfter(text: string | null): number | undefined {
  if (text === null) return undefined;
  const wait = /^\d+$/.test(text.trim()) ? 1000 * Number(text) : Date.parse(text) - Date.now();
  return Number.isNaN(wait) ? undefined : Math.max(0, wait);
}

/** The innermost code of a failed fetch: `ENOTFOUND`, `UND_ERR_SOCKET`, `CERT_HAS_EXPIRED`. */
function failureCode(error: unknown): string {
  for (let at = error, depth = 0; at instanceof Error && depth < 5; depth++) {
    if ("code" in at && typeof at.code === "string") return at.code;
    at = at instanceof AggregateError && at.errors.length > 0 ? (at.errors[0] as unknown) : at.cause;
  }
  return error instanceof Error ? error.message : String(error);
}

/** Whether a connection that was there broke, which may pass at once. */
function isPassing(error: unknown): boolean {
  return /^(ECONNRESET|EPIPE|ETIMEDOUT|EAI_AGAIN|UND_ERR_(SOCKET|HEADERS_TIMEOUT|BODY_TIMEOUT|CONNECT_TIMEOUT))$/.test(failureCode(error));
}

/** The host cannot be reached: HubError `offline`, `proxy` or `certificate`. */
function unreachable(url: URL, cause: unknown): HubError {
  const code = failureCode(cause);
  const proxy = proxyFor(url);
  const words = innermostMessage(cause);
  if (/CERT|SELF_SIGNED|UNABLE_TO_(GET|VERIFY)|ERR_TLS/.test(code)) {
    return new HubError(`The certificate of ${url.host} is not trusted (${code}).`, { code: "certificate", hint: "Where a company's proxy opens connections, name its certificate in NODE_EXTRA_CA_CERTS.", cause });
  }
  if (proxy !== undefined) {
    const refused = /\((\d+)\) !== 200|\((407)\)/.exec(words);
    const what = refused === null ? `cannot be reached (${code})` : `refuses (${refused[1] ?? refused[2]})`;
    return new HubError(`${url.host} is asked through the proxy ${proxy.host}, and that ${what}.`, {
      code: "proxy",
      hint: "Check HTTPS_PROXY (http://USER:PASSWORD@HOST:PORT); NO_PROXY names hosts to be reached without it.",
      cause,
    });
  }
  return new HubError(`${url.host} cannot be reached (${code}).`, { code: "offline", hint: "Check the connection; behind a proxy set HTTPS_PROXY, for a mirror HF_ENDPOINT.", cause });
}

function innermostMessage(error: unknown): string {
  let at = error;
  while (at instanceof Error && at.cause instanceof Error) at = at.cause;
  return at instanceof Error ? at.message : String(at);
}

// ---- proxies ---------------------------------------------------------------------------------------------------------------

/** The proxy for an address by the environment, as curl reads it: http_proxy, https_proxy and no_proxy, in lower case or upper. */
export function proxyFor(url: URL): URL | undefined {
  const variable = (name: string): string | undefined => setting(name) ?? setting(name.toUpperCase());
  const proxy = variable(url.protocol === "https:" ? "https_proxy" : "http_proxy") ?? variable("all_proxy");
  if (proxy === undefined) return undefined;
  const port = url.port || (url.protocol === "https:" ? "443" : "80");
  const host = url.hostname.toLowerCase();
  for (const entry of (variable("no_proxy") ?? "").toLowerCase().split(/[,\s]+/)) {
    if (entry === "*") return undefined;
    const [, name, only] = /^\*?\.?(.+?)(?::(\d+))?$/.exec(entry) ?? [];
    if (name !== undefined && (host === name || host.endsWith(`.${name}`)) && (only === undefined || only === port)) return undefined;
  }
  const address = parseAddress(proxy.includes("://") ? proxy : `http://${proxy}`);
  if (address !== undefined && /^https?:$/.test(address.protocol)) return address;
  throw new HubError(`The proxy ${JSON.stringify(proxy.replace(/\/\/.*@/, "//"))} is none that can be used.`, { code: "proxy", hint: "HTTPS_PROXY is http://HOST:PORT." });
}

/** Chooses for each origin, redirects included, whether its proxy or none is used. */
function dispatcherFor(timeout: number): Dispatcher {
  const options = { headersTimeout: timeout, bodyTimeout: timeout, connect: { timeout: Math.min(timeout, 20_000) } };
  const direct = new Agent(options);
  const proxies = new Map<string, ProxyAgent>();
  return direct.compose((dispatch) => (request, handler) => {
    const proxy = request.origin === undefined ? undefined : proxyFor(new URL(request.origin));
    if (proxy === undefined) return dispatch(request, handler);
    const agent = proxies.get(proxy.href) ?? new ProxyAgent({ headersTimeout: timeout, bodyTimeout: timeout, uri: proxy.href, proxyTunnel: false });
    proxies.set(proxy.href, agent);
    return agent.dispatch(request, handler);
  });
}
