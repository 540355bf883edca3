/**
 * @file `HORNBOOK_PROFILE=1`: where the time of a step, a token, or any other program goes. The executor says when each launch began and ended, `cost.ts`
 * what it had to do; together they are each kernel's time, share, GFLOP/s and GB/s, and what of the time no kernel ran.
 *
 * Time is cut into phases where somebody says `endPhase`: what was queued since the last phase ended belongs to it, whenever it runs, so that a loop
 * that queues a step while the one before runs is cut where its steps meet. The first phase of a name warms up (memory is touched for the first time,
 * code is compiled) and is told apart. Nothing here runs when profiling is off: the device then has no profiler.
 */

import { performance } from "node:perf_hooks";
import { kernelSpec, type Attributes, type KernelName, type Operands } from "../contract.js";
import { launchCost, type Cost, type CostView } from "../cost.js";

export interface LaunchTotals extends Cost {
  readonly calls: number;
  readonly seconds: number;
}

/** All phases of one name, summed. */
export interface PhaseProfile {
  readonly name: string;
  readonly count: number;
  /** From the end of the phase before to the end of the last kernel. */
  readonly seconds: number;
  /** Of these, with nothing in the queue: the kernels waited for JavaScript. */
  readonly waiting: number;
  /** In which the JavaScript thread was not idle, mostly beside the kernels. */
  readonly javaScript: number;
  /** By kernel, and by kernel with its dtypes and shapes; most time first. */
  readonly kernels: ReadonlyMap<string, LaunchTotals>;
  readonly launches: ReadonlyMap<string, LaunchTotals>;
}

interface Launch {
  readonly kernel: KernelName;
  readonly operands: Operands<KernelName, CostView>;
  readonly attributes: Attributes<KernelName>;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

class Phase {
  count = 0;
  seconds = 0;
  waiting = 0;
  javaScript = 0;
  readonly kernels = new Map<string, Mutable<LaunchTotals>>();
  readonly launches = new Map<string, Mutable<LaunchTotals>>();

  add({ kernel, operands, attributes }: Launch, seconds: number, waited: number): void {
    const { flops, bytes } = launchCost(kernel, operands, attributes);
    this.waiting += waited;
    addTo(this.kernels, kernel, { calls: 1, seconds, flops, bytes });
    addTo(this.launches, `${kernel} ${shapesOf(kernel, operands)}`, { calls: 1, seconds, flops, bytes });
  }

  merge(other: Phase): void {
    this.count += other.count;
    this.seconds += other.seconds;
    this.waiting += other.waiting;
    this.javaScript += other.javaScript;
    for (const [name, totals] of other.kernels) addTo(this.kernels, name, totals);
    for (const [name, totals] of other.launches) addTo(this.launches, name, totals);
  }
}

function addTo(totals: Map<string, Mutable<LaunchTotals>>, name: string, { calls, seconds, flops, bytes }: LaunchTotals): void {
  let entry = totals.get(name);
  if (entry === undefined) totals.set(name, (entry = { calls: 0, seconds: 0, flops: 0, bytes: 0 }));
  entry.calls += calls;
  entry.seconds += seconds;
  entry.flops += flops;
  entry.bytes += bytes;
}

/** `bf16[4,8] f32[8,2]T`: what a launch reads, or writes where it reads nothing; T where rows are contiguous the other way. */
function shapesOf(kernel: KernelName, operands: Operands<KernelName, CostView>): string {
  const views = operands as Readonly<Record<string, CostView | undefined>>;
  const specs = Object.entries(kernelSpec(kernel).operands).filter(([name, { optional }]) => !optional && views[name] !== undefined);
  const read = specs.filter(([, { direction }]) => direction === "in");
  return (read.length > 0 ? read : specs)
    .slice(0, 3)
    .map(([name]) => {
      const { dtype, shape, strides } = views[name]!;
      const last = shape.length - 1;
      return `${dtype}[${shape.join(",")}]${last > 0 && strides[last] > 1 && strides[last - 1] === 1 ? "T" : ""}`;
    })
    .join(" ");
}

/** Launches after which their times are fetched, so that no more of them are remembered. */
const fetchEvery = 1024;

export class Profiler {
  /** Queued, their times not yet known; the first of them is number `#timed`. */
  #pending: Launch[] = [];
  #queued = 0;
  #timed = 0;
  /** Queued when times were last fetched by `keepUp`. */
  #queuedThen = 0;
  /** Phases that end before launch number `at`. */
  readonly #ends: { readonly name: string; readonly at: number; readonly javaScript: number }[] = [];
  #current = new Phase();
  readonly #phases = new Map<string, Phase>();
  /** When the last launch, and the last of the phase before, ended. */
  #lastEnd = 0;
  #phaseBegan: number | undefined;
  #busyBefore = 0;
  /** Milliseconds of the JavaScript thread that this profiler took. */
  #own = 0;

  /** `takeTimes` gives (began, ended, waited) in seconds for each launch that ended since it was last called, in order. */
  constructor(private readonly takeTimes: () => Float64Array) {}

  launched(kernel: KernelName, operands: Operands<KernelName, CostView>, attributes: Attributes<KernelName>): void {
    // What came before the first launch is nobody's.
    if (this.#queued === 0) this.#busyBefore = performance.eventLoopUtilization().active;
    this.#pending.push({ kernel, operands, attributes });
    this.#queued++;
  }

  /** To be called now and then, when all that was told of is queued. */
  keepUp(): void {
    if (this.#queued - this.#queuedThen < fetchEvery) return;
    this.#queuedThen = this.#queued;
    this.#fetch();
  }

  /** What was queued since the last phase ended was a `name`. */
  endPhase(name: string): void {
    const busy = performance.eventLoopUtilization().active - this.#own;
    this.#ends.push({ name, at: this.#queued, javaScript: (busy - this.#busyBefore) / 1000 });
    this.#busyBefore = busy;
  }

  /** All that ran so far, in the order of first appearance; what belongs to no phase is called `run`. */
  profile(): PhaseProfile[] {
    this.#fetch();
    const phases = new Map(this.#phases);
    if (this.#current.kernels.size > 0) {
      const rest = new Phase();
      rest.merge(this.#current);
      rest.count = 1;
      rest.seconds = this.#lastEnd - (this.#phaseBegan ?? 0);
      rest.javaScript = (performance.eventLoopUtilization().active - this.#own - this.#busyBefore) / 1000;
      phases.set("run", rest);
    }
    const sorted = (totals: ReadonlyMap<string, LaunchTotals>) => new Map([...totals].sort(([, a], [, b]) => b.seconds - a.seconds));
    return [...phases].map(([name, phase]) => ({ ...phase, name, kernels: sorted(phase.kernels), launches: sorted(phase.launches) }));
  }

  #fetch(): void {
    const start = performance.now();
    const times = this.takeTimes();
    const count = times.length / 3;
    for (let i = 0; i < count; i++) {
      this.#closePhases();
      const [began, ended, waited] = times.subarray(3 * i, 3 * i + 3);
      this.#current.add(this.#pending[i], ended - began, this.#phaseBegan === undefined ? 0 : waited);
      this.#phaseBegan ??= began;
      this.#lastEnd = ended;
      this.#timed++;
    }
    this.#closePhases();
    this.#pending = this.#pending.slice(count);
    this.#own += performance.now() - start;
  }

  #closePhases(): void {
    while (this.#ends.length > 0 && this.#ends[0].at === this.#timed) {
      const { name, javaScript } = this.#ends.shift()!;
      const phase = this.#current;
      if (phase.kernels.size === 0) continue;
      phase.count = 1;
      phase.seconds = this.#lastEnd - this.#phaseBegan!;
      phase.javaScript = javaScript;
      const first = `first ${name}`;
      const key = this.#phases.has(first) ? name : first;
      if (!this.#phases.has(key)) this.#phases.set(key, new Phase());
      this.#phases.get(key)!.merge(phase);
      this.#current = new Phase();
      this.#phaseBegan = this.#lastEnd;
    }
  }
}

const percent = (part: number, whole: number): string => `${((100 * part) / whole).toFixed(1)}%`;
const rate = (amount: number, seconds: number): string => (amount === 0 ? "" : (amount / seconds / 1e9).toFixed(1));
const [leastShare, mostShapes] = [0.01, 16];

/** A profile for people: a table for each phase, one line for those that came only once beside others of their name. */
export function formatProfile(profile: readonly PhaseProfile[], device: string): string {
  const names = new Set(profile.map(({ name }) => name));
  const phases = profile.map((phase) => {
    const { name, count, seconds, waiting, javaScript, kernels, launches } = phase;
    const inKernels = [...kernels.values()].reduce((sum, entry) => sum + entry.seconds, 0);
    const head =
      `${name}: ${(1000 * seconds / count).toFixed(2)} ms${count > 1 ? `, the mean of ${count}` : ""}. Kernels ${percent(inKernels, seconds)}, waiting for JavaScript with an empty queue ` +
      `${percent(waiting, seconds)}, between kernels ${percent(Math.max(0, seconds - inKernels - waiting), seconds)}. The JavaScript thread is busy ${percent(javaScript, seconds)} of the time.`;
    if (name.startsWith("first ") && names.has(name.slice("first ".length))) return head;
    const row = (label: string, { calls, seconds: spent, flops, bytes }: LaunchTotals): string[] => [
      label, String(Math.round((10 * calls) / count) / 10), ((1000 * spent) / count).toFixed(3), percent(spent, seconds), rate(flops, spent), rate(bytes, spent),
    ];
    const shapes = [...launches].filter(([, { seconds: spent }]) => spent >= leastShare * seconds).slice(0, mostShapes);
    return [
      head,
      columns([["kernel", "calls", "ms", "share", "GFLOP/s", "GB/s"], ...[...kernels].map(([kernel, totals]) => row(kernel, totals))]),
      columns([["of these", "calls", "ms", "share", "GFLOP/s", "GB/s"], ...shapes.map(([label, totals]) => row(label, totals))]),
    ].join("\n\n");
  });
  return [`Profile of ${device}`, ...phases].join("\n\n");
}

function columns(rows: readonly (readonly string[])[]): string {
  const widths = rows[0].map((_, i) => Math.max(...rows.map((row) => row[i].length)));
  return rows.map((row) => row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i] + 2))).join("").trimEnd()).join("\n");
}
