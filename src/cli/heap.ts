/**
 * @file How V8 keeps house here; imported before anything else, since a heap that has grown while modules load stays so for a while.
 *
 * Its young generation would grow to some 50 MB when it sees much garbage; here nearly all of it dies at once, in little room as well. The old one
 * would double before it is first looked through; it is collected, and compacted, whenever it has grown by a tenth. So the resident size stays
 * flat while a model trains, and pauses stay short; the heap is some 10 MB, so it costs next to nothing.
 */

import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

setFlagsFromString("--semi-space-growth-factor=1");
setFlagsFromString("--heap-growing-percent=10");
setFlagsFromString("--compact-on-every-full-gc");
setFlagsFromString("--expose-gc");

/**
 * Collects what something large has left behind, an evaluation or a save: a collection that V8 begins in its midst takes much of it for living, and the heap
 * stays some 3 MB larger until the next. While the device rests it takes some twenty milliseconds.
 */
export const collectGarbage = runInNewContext("gc") as () => void;
